"""More kinds of modules for the table of docs/export.md; what becomes of each is found out by exporting it."""

from __future__ import annotations

import random
from collections.abc import Callable, Mapping
from typing import Any, NamedTuple

import numpy as np
import torch
import torch.nn.functional as F
import torchvision
from module_kinds import IMAGES, ROWS, SEQUENCES, STEPS, TOKENS, WIDTH, Of, encoder, numbers, plain, read_last, trained
from torch import Tensor, nn
from torch.utils.checkpoint import checkpoint


class Kind(NamedTuple):
    """How to make a module, an example of its input, and what else is asked of the export."""

    make: Callable[[], nn.Module]
    example: Any
    asked: Mapping[str, Any] = {}


CHANNELS_FIRST = SEQUENCES.transpose(0, 2, 1).copy()
VOLUMES = numbers(20, 2, 4, 4, 4)


def counts_calls() -> nn.Module:
    def compute(self: Any, x: Tensor) -> Tensor:
        self.calls += 1
        return self.head(x) + 0 * self.calls

    return Of(compute, calls=nn.Buffer(torch.zeros(())))


def changes_by_hook() -> nn.Module:
    network = plain()
    network[0].register_forward_hook(lambda module, given, output: 2 * output)
    return network


def flat(*layers: nn.Module) -> nn.Sequential:
    """Layers, and a head that is found by a pass."""
    return nn.Sequential(*layers, nn.Flatten(1))


def with_head(images: np.ndarray, *layers: nn.Module) -> nn.Module:
    body = flat(*layers).eval()
    with torch.no_grad():
        width = body(torch.from_numpy(images[:2])).shape[1]
    return nn.Sequential(body, nn.Linear(width, 3))


def boxes_of(x: Tensor) -> Tensor:
    low = x[:, :2].sigmoid()
    return torch.cat([low, low + 1 + x[:, 2:4].sigmoid()], dim=1)


def pooled(self: Any, x: Tensor) -> Tensor:
    boxes = x.new_tensor([0.0, 0, 4, 4]).expand(x.shape[0], 4)
    regions = torch.cat([torch.arange(x.shape[0])[:, None].to(x), boxes], 1)
    return self.head(torchvision.ops.roi_align(x, regions, 2).flatten(1))


def complex_part(self: Any, x: Tensor) -> Tensor:
    return self.head(torch.complex(x, 2 * x).abs())


LONG = numbers(20, 64)
LENGTH: dict[str, Any] = {"dynamic": {1: "length"}}
SIZE: dict[str, Any] = {"dynamic": {2: "height", 3: "width"}, "outputs": ["values"]}


class Two(NamedTuple):
    a: Tensor
    b: Tensor


class Masked(nn.Module):
    def __init__(self) -> None:
        super().__init__()
        self.mha, self.head = nn.MultiheadAttention(WIDTH, 2, batch_first=True), nn.Linear(WIDTH, 3)

    def forward(self, x: Tensor, padded: Tensor) -> Tensor:
        return self.head(self.mha(x, x, x, key_padding_mask=padded)[0].mean(1))


def recurrent(layer: type[nn.RNNBase], **options: Any) -> Callable[[], nn.Module]:
    width = 4 * (1 + options.get("bidirectional", False))
    return lambda: Of(read_last, width, rnn=layer(WIDTH, 4, batch_first=True, **options))


STACKED: dict[str, Any] = {"num_layers": 2, "bidirectional": True}
RECURRENT = {
    "nn.RNN": recurrent(nn.RNN),
    "nn.RNN with relu, two layers, bidirectional": recurrent(nn.RNN, nonlinearity="relu", **STACKED),
    "GRU": recurrent(nn.GRU),
    "GRU of two layers, bidirectional": recurrent(nn.GRU, **STACKED),
    "LSTM without biases": recurrent(nn.LSTM, bias=False),
    "LSTM of two layers, bidirectional": recurrent(nn.LSTM, **STACKED),
}


@torch.library.custom_op("regplug_tests::twice", mutates_args=())
def twice(x: Tensor) -> Tensor:
    return 2 * x


twice.register_fake(torch.empty_like)


def keeps_last(self: Any, x: Tensor) -> Tensor:
    before = getattr(self, "last", None)
    self.last = x.mean()
    return self.head(x) + (0 if before is None else before)


def unpooled(self: Any, x: Tensor) -> Tensor:
    values, places = F.max_pool2d(x, 2, return_indices=True)
    return self.head(F.max_unpool2d(values, places, 2).flatten(1))


def spectrum(self: Any, x: Tensor) -> Tensor:
    return self.head(torch.stft(x, 8, window=torch.hann_window(8), return_complex=True).abs().flatten(1)[:, :15])


def outer(x: Tensor) -> Tensor:
    pairs = x[:, :4].view(-1, 2, 2)
    return pairs @ pairs.mT + torch.eye(2)


def with_gradient(self: Any, x: Tensor) -> Tensor:
    with torch.enable_grad():
        given = x.detach().requires_grad_()
        return self.head(torch.autograd.grad(given.pow(3).sum(), given)[0])


def asserting(self: Any, x: Tensor) -> Tensor:
    assert x.abs().max() < 1e9
    return self.head(x)


def packed(self: Any, x: Tensor) -> Tensor:
    lengths = torch.full((x.shape[0],), STEPS)
    given = nn.utils.rnn.pack_padded_sequence(x, lengths, batch_first=True)
    return self.head(self.rnn(given)[1][-1])


_MORE: dict[str, tuple[Any, ...]] = {
    "GRU": (lambda: Of(read_last, rnn=nn.GRU(WIDTH, WIDTH, batch_first=True)), SEQUENCES),
    "LSTM of two layers, bidirectional": (
        lambda: Of(read_last, 2 * WIDTH, rnn=nn.LSTM(WIDTH, WIDTH, 2, batch_first=True, bidirectional=True)), SEQUENCES,
    ),
    "multi-head attention": (
        lambda: Of(
            lambda self, x: self.head(self.mha(x, x, x, need_weights=False)[0].mean(1)),
            mha=nn.MultiheadAttention(WIDTH, 2, batch_first=True),
        ), SEQUENCES,
    ),
    "sort": (lambda: Of(lambda self, x: self.head(x.sort(dim=1).values)), ROWS),
    "cumsum": (lambda: Of(lambda self, x: self.head(x.cumsum(1))), ROWS),
    "complex numbers": (lambda: Of(complex_part), ROWS),
    "float16 weights": (lambda: plain().half(), ROWS),
    "conv1d": (lambda: with_head(CHANNELS_FIRST, nn.Conv1d(WIDTH, 4, 3)), CHANNELS_FIRST),
    "conv3d": (lambda: with_head(VOLUMES, nn.Conv3d(2, 3, 3), nn.ReLU()), VOLUMES),
    "depthwise convolution": (lambda: with_head(IMAGES, nn.Conv2d(3, 6, 3, groups=3)), IMAGES),
    "pixel_shuffle": (lambda: with_head(IMAGES, nn.Conv2d(3, 4, 3), nn.PixelShuffle(2)), IMAGES),
    "layer norm, rms norm": (lambda: nn.Sequential(nn.LayerNorm(WIDTH), nn.RMSNorm(WIDTH), plain()), ROWS),
    "batch norm without running statistics": (
        lambda: nn.Sequential(nn.BatchNorm1d(WIDTH, track_running_stats=False), plain()), ROWS,
    ),
    "F.dropout, always on": (lambda: Of(lambda self, x: self.head(F.dropout(x))), ROWS),
    "attention dropout, always on": (
        lambda: Of(lambda self, x: self.head(F.scaled_dot_product_attention(x, x, x, dropout_p=0.1).mean(1))),
        SEQUENCES,
    ),
    "random numbers in forward": (lambda: Of(lambda self, x: self.head(x + torch.randn_like(x))), ROWS),
    "random numbers from numpy": (lambda: Of(lambda self, x: self.head(x) * np.random.default_rng().random()), ROWS),
    "F.rrelu, always on": (lambda: Of(lambda self, x: self.head(F.rrelu(x, training=True))), ROWS),
    "writes a buffer": (counts_calls, ROWS),
    "hook that changes the output": (changes_by_hook, ROWS),
    "scripted": (lambda: torch.jit.script(plain()), ROWS),
    "traced": (lambda: torch.jit.trace(plain(), torch.from_numpy(ROWS)), ROWS),
    "loop over the steps": (
        lambda: Of(lambda self, x: self.head(torch.stack([x[:, t] for t in range(x.shape[1])]).amax(0))), SEQUENCES,
    ),
    "rows selected by nms": (
        lambda: Of(lambda self, x: self.head(x[torchvision.ops.nms(boxes_of(x), x[:, 4], 0.5)])), ROWS,
    ),
    "deform_conv2d": (
        lambda: Of(
            lambda self, x: self.head(self.conv(x, torch.zeros_like(x[:, :1, :6, :6]).expand(-1, 18, 6, 6)).flatten(1)),
            4 * 36, conv=torchvision.ops.DeformConv2d(3, 4, 3),
        ), IMAGES,
    ),
    "roi_align": (lambda: Of(pooled, 12), IMAGES),
    "list that forward appends to": (
        lambda: Of(lambda self, x: (self.seen.append(1), self.head(x))[1], seen=[]), ROWS,
    ),
    "normalised over the batch": (lambda: Of(lambda self, x: self.head(x - x.mean(0))), ROWS),
    "numpy in forward": (lambda: Of(lambda self, x: self.head(x) + x.numpy().mean()), ROWS),
    "random numbers from Python": (lambda: Of(lambda self, x: self.head(x) * random.random()), ROWS),
    "cache kept as an attribute": (lambda: Of(keeps_last), ROWS),
    "SyncBatchNorm": (
        lambda: nn.SyncBatchNorm.convert_sync_batchnorm(trained(nn.Sequential(nn.BatchNorm1d(WIDTH), plain()))), ROWS,
    ),
    "torch.cond on the batch": (
        lambda: Of(lambda self, x: self.head(torch.cond(x.sum() > 0, torch.sin, torch.cos, (x,)))), ROWS,
    ),
    "one_hot": (lambda: Of(lambda self, x: self.head(F.one_hot(x, 9).float().mean(1)), 9), TOKENS),
    "scatter_add": (
        lambda: Of(lambda self, x: self.head(torch.zeros(x.shape[0], 9).scatter_add(1, x.long() % 9, x.float())), 9),
        TOKENS,
    ),
    "bucketize": (
        lambda: Of(
            lambda self, x: self.head(torch.bucketize(x, self.edges).float()), edges=nn.Buffer(torch.linspace(-2, 2, 5))
        ), ROWS,
    ),
    "gather": (lambda: Of(lambda self, x: self.head(x.gather(1, x.argsort(1)))), ROWS),
    "roll, flip, diff": (lambda: Of(lambda self, x: self.head(x.roll(1, 1).flip(1).diff()), 5), ROWS),
    "unfold": (lambda: Of(lambda self, x: self.head(F.unfold(x, 3).mean(2)), 27), IMAGES),
    "circular padding": (
        lambda: with_head(IMAGES, nn.Conv2d(3, 2, 3, padding=1, padding_mode="circular")), IMAGES,
    ),
    "max unpooling": (lambda: Of(unpooled, 192), IMAGES),
    "adaptive max pooling to 3 x 3": (lambda: with_head(IMAGES, nn.AdaptiveMaxPool2d(3)), IMAGES),
    "stft": (lambda: Of(spectrum, 15), LONG),
    "cholesky": (lambda: Of(lambda self, x: self.head(torch.linalg.cholesky(outer(x)).flatten(1)), 4), ROWS),
    "singular values": (lambda: Of(lambda self, x: self.head(torch.linalg.svdvals(outer(x))), 2), ROWS),
    "vmap": (lambda: Of(lambda self, x: self.head(torch.vmap(lambda row: row.cumsum(0))(x))), ROWS),
    "gradient in forward": (lambda: Of(with_gradient), ROWS),
    "checkpointed layers": (
        lambda: Of(lambda self, x: self.head(checkpoint(self.body, x, use_reentrant=False)), 3, body=plain()), ROWS,
    ),
    "custom operator": (lambda: Of(lambda self, x: self.head(torch.ops.regplug_tests.twice(x))), ROWS),
    "ParameterList": (
        lambda: Of(
            lambda self, x: self.head(x @ self.more[0]), more=nn.ParameterList([nn.Parameter(torch.eye(WIDTH))])
        ), ROWS,
    ),
    "assert on values": (lambda: Of(asserting), ROWS),
    "print in forward": (lambda: Of(lambda self, x: (print("seen"), self.head(x))[1]), ROWS),  # noqa: T201
    "uint8 images": (lambda: Of(lambda self, x: self.head(x.float().flatten(1)), 192), (IMAGES > 0).astype(np.uint8)),
    "boolean inputs": (lambda: Of(lambda self, x: self.head(x.float())), ROWS > 0),
    "packed sequence": (lambda: Of(packed, rnn=nn.GRU(WIDTH, WIDTH, batch_first=True)), SEQUENCES),
    "nn.RNN": (lambda: Of(read_last, rnn=nn.RNN(WIDTH, WIDTH, batch_first=True)), SEQUENCES),
    "nn.RNN with relu, two layers, bidirectional": (
        lambda: Of(read_last, 8, rnn=nn.RNN(WIDTH, 4, 2, "relu", batch_first=True, bidirectional=True)), SEQUENCES,
    ),
    "GRU of two layers, bidirectional": (
        lambda: Of(read_last, 8, rnn=nn.GRU(WIDTH, 4, 2, batch_first=True, bidirectional=True)), SEQUENCES,
    ),
    "LSTM with projection": (lambda: Of(read_last, 3, rnn=nn.LSTM(WIDTH, 4, proj_size=3, batch_first=True)), SEQUENCES),
    **{f"{name}, any length": (make, SEQUENCES, LENGTH) for name, make in RECURRENT.items()},
    "transformer, any length": (
        lambda: Of(lambda self, x: self.head(self.enc(x).mean(1)), enc=encoder(batch_first=True)), SEQUENCES, LENGTH,
    ),
    "positions from a table, up to its length": (
        lambda: Of(lambda self, x: self.head(x + self.at[: x.shape[1]]).mean(1), at=nn.Buffer(torch.ones(16, WIDTH))),
        SEQUENCES, {"dynamic": {1: ("length", 1, 16)}},
    ),
    "linear layer on a flattened axis, any length": (
        lambda: nn.Sequential(nn.Flatten(), nn.Linear(STEPS * WIDTH, 3)), SEQUENCES, LENGTH,
    ),
    "loop over an axis, any length": (
        lambda: Of(lambda self, x: sum(self.head(x[:, at]) for at in range(x.shape[1]))), SEQUENCES, LENGTH,
    ),
    "convolution and mean, any size": (
        lambda: nn.Sequential(nn.Conv2d(3, 4, 3), nn.AdaptiveAvgPool2d(1), nn.Flatten(), nn.Linear(4, 3)), IMAGES, SIZE,
    ),
    "adaptive pooling to 2 x 2, any size": (
        lambda: nn.Sequential(nn.AdaptiveAvgPool2d(2), nn.Flatten(), nn.Linear(12, 3)), IMAGES, SIZE,
    ),
    "upsampling by 2, any size": (
        lambda: nn.Sequential(nn.Conv2d(3, 2, 3), nn.Upsample(scale_factor=2, mode="bilinear")), IMAGES, SIZE,
    ),
    "two inputs, by name": (lambda: nn.Bilinear(WIDTH, WIDTH, 3), {"input1": ROWS, "input2": ROWS}),
    "attention with a padding mask, by name": (
        lambda: Masked(), {"x": SEQUENCES, "padded": np.arange(STEPS) >= 2 + np.arange(40)[:, None] % 4},
    ),
    "dict as output, named": (
        lambda: Of(lambda self, x: {"logits": self.head(x), "inner": x * 2}), ROWS, {"outputs": ["logits", "inner"]},
    ),
    "tuple as output, named": (
        lambda: Of(lambda self, x: (self.head(x), x * 2)), ROWS, {"outputs": ["logits", "inner"]},
    ),
    "named tuple as output": (lambda: Of(lambda self, x: Two(self.head(x), x * 2)), ROWS, {"outputs": ["b"]}),
    "None as an output": (
        lambda: Of(lambda self, x: (self.head(x), None)), ROWS, {"outputs": ["logits", "attention"]},
    ),
    "feature map as output, named": (lambda: nn.Conv2d(3, 2, 3), IMAGES, {"outputs": "map"}),
    "complex output": (lambda: Of(lambda self, x: torch.fft.rfft(x)), ROWS),
    "example of two rows": (plain, ROWS[:2]),
}  # fmt: skip
MORE = {name: Kind(*given) for name, given in _MORE.items()}
