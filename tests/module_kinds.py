"""Modules of many kinds with inputs that they take: what people build, and what only looks like a module of numbers."""

from __future__ import annotations

import warnings
from collections.abc import Callable
from typing import Any

import numpy as np
import torch
import torch.nn.functional as F
from torch import Tensor, nn
from torch.ao import quantization
from torch.nn.utils import parametrizations, prune

WIDTH, STEPS, SIDE = 6, 5, 8


def numbers(*shape: int) -> np.ndarray:
    return np.random.default_rng(0).normal(0, 1, shape).astype(np.float32)


ROWS, SEQUENCES, IMAGES = numbers(40, WIDTH), numbers(40, STEPS, WIDTH), numbers(20, 3, SIDE, SIDE)
TOKENS = np.random.default_rng(0).integers(0, 9, (30, STEPS))


def plain(*, last: int = 3) -> nn.Sequential:
    return nn.Sequential(nn.Linear(WIDTH, 8), nn.ReLU(), nn.Linear(8, last))


class Of(nn.Module):
    """A forward given as a function of the module and its input; `head` makes three outputs of `width` numbers."""

    def __init__(self, compute: Callable[..., Any], width: int = WIDTH, **parts: Any) -> None:
        super().__init__()
        self.compute, self.head = compute, nn.Linear(width, 3)
        for name, part in parts.items():
            setattr(self, name, part)

    def forward(self, x: Tensor) -> Any:
        return self.compute(self, x)


def changed(change: Callable[[nn.Module], object]) -> nn.Module:
    """A plain network whose first layer was changed."""
    network = plain()
    with warnings.catch_warnings():
        # Of the old weight_norm and spectral_norm torch says that they are old.
        warnings.simplefilter("ignore")
        change(network[0])
    return network


def trained(network: nn.Module) -> nn.Module:
    """After a pass in training mode, in which it stays."""
    network.train()(torch.randn(16, WIDTH)).sum().backward()
    return network


def quantized(*, converted: bool, aware: bool = False) -> nn.Module:
    network = nn.Sequential(quantization.QuantStub(), *plain(), quantization.DeQuantStub())
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        if aware:
            network.train().qconfig = quantization.get_default_qat_qconfig("fbgemm")
            network = quantization.prepare_qat(network)
        else:
            network.eval().qconfig = quantization.get_default_qconfig("fbgemm")
            network = quantization.prepare(network)
        network(torch.randn(32, WIDTH))
        return quantization.convert(network.eval()) if converted else network


def dynamic() -> nn.Module:
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        return quantization.quantize_dynamic(plain(), {nn.Linear})


def tied() -> nn.Module:
    network = nn.Sequential(nn.Linear(WIDTH, WIDTH), nn.Tanh(), nn.Linear(WIDTH, WIDTH), nn.Linear(WIDTH, 3))
    network[2].weight = network[0].weight
    return network


def shared() -> nn.Module:
    layer = nn.Linear(WIDTH, WIDTH)
    return nn.Sequential(layer, nn.Tanh(), layer, nn.Linear(WIDTH, 3))


def hooked() -> nn.Module:
    network = plain()
    network[1].register_forward_hook(lambda *_: None)
    network.register_full_backward_hook(lambda *_: None)
    network.register_state_dict_post_hook(lambda *_: None)
    return network


def keeping_a_loss() -> nn.Module:
    """What a mixture of experts does: a loss of its own is left on it by each pass in training."""

    def compute(self: Any, x: Tensor) -> Tensor:
        self.balance = self.head.weight.square().mean()
        return self.head(x)

    return Of(compute)


class Autocast(nn.Module):
    def __init__(self, dtype: torch.dtype) -> None:
        super().__init__()
        self.net, self.dtype = plain(), dtype

    def forward(self, x: Tensor) -> Tensor:
        with torch.autocast("cpu", dtype=self.dtype):
            return self.net(x)


class InList(nn.Module):
    """Layers in a plain list."""

    def __init__(self, *layers: nn.Module) -> None:
        super().__init__()
        self.layers, self.head = list(layers), nn.Linear(WIDTH, 3)

    def forward(self, x: Tensor) -> Tensor:
        for layer in self.layers:
            x = layer(x)
        return self.head(x)


class Clip(torch.autograd.Function):
    @staticmethod
    def forward(ctx: Any, x: Tensor) -> Tensor:
        return x.clamp(-1, 1)


class Turned(nn.Module):
    """Turns images by a little before it looks at them."""

    def __init__(self) -> None:
        super().__init__()
        self.turn, self.head = (
            nn.Parameter(torch.tensor([[0.9, 0.1, 0.0], [-0.1, 0.9, 0.1]])),
            nn.Linear(3 * SIDE**2, 3),
        )

    def forward(self, x: Tensor) -> Tensor:
        grid = F.affine_grid(self.turn.expand(x.shape[0], 2, 3), list(x.shape), align_corners=False)
        return self.head(F.grid_sample(x, grid, align_corners=False).flatten(1))


def encoder(*, batch_first: bool = False) -> nn.Module:
    layer = nn.TransformerEncoderLayer(WIDTH, 2, 12, batch_first=batch_first)
    return nn.TransformerEncoder(layer, 1, enable_nested_tensor=False)


def read_last(self: Any, x: Tensor) -> Tensor:
    return self.head(self.rnn(x)[0][:, -1])


def attended(self: Any, x: Tensor, **options: Any) -> Tensor:
    return self.head(F.scaled_dot_product_attention(x, x, x, **options).flatten(1, -2).mean(1))


COMPUTED: dict[str, Callable[[], nn.Module]] = {
    "weight_norm": lambda: changed(parametrizations.weight_norm),
    "orthogonal": lambda: changed(parametrizations.orthogonal),
    "spectral_norm": lambda: trained(changed(parametrizations.spectral_norm)),
    "old weight_norm": lambda: changed(nn.utils.weight_norm),
    "old weight_norm, trained": lambda: trained(changed(nn.utils.weight_norm)),
    "old spectral_norm": lambda: trained(changed(nn.utils.spectral_norm)),
    "pruned": lambda: changed(lambda layer: prune.l1_unstructured(layer, "weight", 0.5)),
    "pruned twice, trained": lambda: trained(
        changed(
            lambda layer: [
                prune.l1_unstructured(layer, "weight", 0.3),
                prune.random_structured(layer, "weight", 0.3, 0),
            ]
        )
    ),
}
"""Networks with a weight that is computed from other numbers."""

SOUND: dict[str, tuple[Callable[[], nn.Module], np.ndarray]] = {
    "linear layers": (plain, ROWS),
    "float64": (lambda: plain().double(), ROWS),
    "bfloat16": (lambda: plain().bfloat16(), ROWS),
    "batch norm": (lambda: trained(nn.Sequential(nn.Linear(WIDTH, 8), nn.BatchNorm1d(8), nn.Linear(8, 3))), ROWS),
    "weight tied to another layer's": (tied, ROWS),
    "layer used twice": (shared, ROWS),
    "hooks that change nothing": (hooked, ROWS),
    "loss kept as an attribute": (lambda: trained(keeping_a_loss()), ROWS),
    "frozen in part": (lambda: nn.Sequential(plain(last=4).requires_grad_(False), nn.Linear(4, 3)), ROWS),
    "ReLU in place on its input": (lambda: nn.Sequential(nn.ReLU(inplace=True), nn.Linear(WIDTH, 3)), ROWS),
    "scales its input in place": (lambda: Of(lambda self, x: self.head(x.mul_(2))), ROWS),
    "activations in a plain list": (lambda: InList(nn.ReLU(), nn.Tanh()), ROWS),
    "constant tensor in forward": (lambda: Of(lambda self, x: self.head(x) * torch.tensor([1.0, 2.0, 3.0])), ROWS),
    "constant index in forward": (lambda: Of(lambda self, x: self.head(x[:, torch.tensor([0, 2, 4])]), width=3), ROWS),
    "answers in bfloat16": (lambda: Of(lambda self, x: self.head(x).bfloat16()), ROWS),
    "answers in float64": (lambda: Of(lambda self, x: self.head(x).double()), ROWS),
    "autocast to float16": (lambda: Autocast(torch.float16), ROWS),
    "nn.DataParallel": (lambda: nn.DataParallel(plain()), ROWS),
    "attention on three axes": (lambda: Of(attended), SEQUENCES),
    "causal attention on three axes": (lambda: Of(lambda self, x: attended(self, x, is_causal=True)), SEQUENCES),
    "attention on five axes": (lambda: Of(lambda self, x: attended(self, x[:, None, None])), SEQUENCES),
    "LSTM": (lambda: Of(read_last, rnn=nn.LSTM(WIDTH, WIDTH, batch_first=True)), SEQUENCES),
    "LSTM, pruned": (
        lambda: Of(
            read_last, rnn=prune.l1_unstructured(nn.LSTM(WIDTH, WIDTH, batch_first=True), "weight_hh_l0", 0.5)
        ),
        SEQUENCES,
    ),
    "transformer, steps first": (
        lambda: Of(lambda self, x: self.head(self.enc(x.transpose(0, 1)).mean(0)), enc=encoder()), SEQUENCES,
    ),
    "embedding": (lambda: Of(lambda self, x: self.head(self.embed(x).mean(1)), embed=nn.Embedding(9, WIDTH)), TOKENS),
    "nn.EmbeddingBag": (lambda: Of(lambda self, x: self.head(self.embed(x)), embed=nn.EmbeddingBag(9, WIDTH)), TOKENS),
    "grid_sample": (Turned, IMAGES),
    "fft": (lambda: Of(lambda self, x: self.head(torch.fft.rfft(x).abs()), 4), ROWS),
    "topk": (lambda: Of(lambda self, x: self.head(x.topk(3, dim=1).values), 3), ROWS),
    "einsum": (lambda: Of(lambda self, x: torch.einsum("btf,kf->bk", x, self.head.weight)), SEQUENCES),
    "upsampling, transposed convolution, group and instance norm": (
        lambda: nn.Sequential(
            nn.Upsample(scale_factor=2, mode="bilinear"), nn.ConvTranspose2d(3, 4, 3, stride=2), nn.GroupNorm(2, 4),
            nn.InstanceNorm2d(4, affine=True), nn.AdaptiveAvgPool2d(2), nn.Flatten(), nn.Linear(16, 3),
        ),
        IMAGES,
    ),
}  # fmt: skip
"""Networks of which a bundle is made, with raw inputs."""
SOUND |= {name: (make, ROWS) for name, make in COMPUTED.items()}

Refused = tuple[Callable[[], nn.Module], np.ndarray, list[str]]
REFUSED: dict[str, Refused] = {
    "lazy layer, never called": (
        lambda: nn.Sequential(nn.LazyLinear(8), nn.LazyLinear(3)),
        ROWS,
        ["'0.weight'", "lazy", "once"],
    ),
    "lazy norm, never called": (
        lambda: nn.Sequential(nn.LazyBatchNorm1d(affine=False)),
        ROWS,
        ["'0.running_mean'", "lazy"],
    ),
    "quantized": (lambda: quantized(converted=True), ROWS, ["Module '0'", "is quantized", "onnx_int8"]),
    "quantized dynamically": (dynamic, ROWS, ["Module '0'", "is quantized", "onnx_int8"]),
    "quantization observers": (lambda: quantized(converted=False), ROWS, ["observer", "torch.ao.quantization.convert"]),
    "quantization-aware training": (
        lambda: quantized(converted=False, aware=True),
        ROWS,
        ["observer", "convert", "onnx_int8"],
    ),
    "sparse buffer": (
        lambda: Of(lambda self, x: self.head((self.links @ x.T).T), links=nn.Buffer(torch.eye(WIDTH).to_sparse())),
        ROWS,
        ["'links'", "sparse", "to_dense()"],
    ),
    "layers in a plain list": (
        lambda: InList(nn.Linear(WIDTH, WIDTH), nn.ReLU()),
        ROWS,
        ["not registered", "the model: layers", "nn.ModuleList"],
    ),
    "batch norm in a plain list": (lambda: InList(nn.BatchNorm1d(WIDTH)), ROWS, ["not registered", "nn.ModuleList"]),
    "dropout in a plain list": (lambda: InList(nn.Dropout()), ROWS, ["not registered", "nn.ModuleList"]),
    "tensor in a plain list": (
        lambda: Of(lambda self, x: self.head(x @ self.more[0]), more=[torch.eye(WIDTH)]),
        ROWS,
        ["not in the state_dict", "the model: more"],
    ),
    "autocast to bfloat16": (
        lambda: Autocast(torch.bfloat16),
        ROWS,
        ["no kernel for Gemm", "without torch.autocast", "(and onnx.open.disabled"],
    ),
    "two inputs, example of one": (
        lambda: nn.Bilinear(WIDTH, WIDTH, 3),
        ROWS,
        ["takes 2 inputs (input1, input2)", "one input tensor"],
    ),
    "forward without an input": (
        lambda: type("Silent", (nn.Module,), {"forward": lambda self: None})(),
        ROWS,
        ["takes 0 inputs"],
    ),
    "dict as output, not named": (
        lambda: Of(lambda self, x: {"logits": self.head(x)}),
        ROWS,
        ["a dict of logits", "net(x)['logits']"],
    ),
    "tuple as output, not named": (lambda: Of(lambda self, x: (self.head(x), x)), ROWS, ["a tuple of 2", "net(x)[0]"]),
    "class indices as output": (lambda: Of(lambda self, x: self.head(x).argmax(1)), ROWS, ["torch.int64", "logits"]),
    "output of one axis": (lambda: Of(lambda self, x: self.head(x)[:, 0]), ROWS, ["(2,)", "unsqueeze(1)"]),
    "feature map as output, not named": (lambda: nn.Conv2d(3, 2, 3), IMAGES, ["(2, 2, 6, 6)", "flatten(1)"]),
    "forward raises an error": (
        lambda: Of(lambda self, x: {}["mode"]),
        ROWS,
        ["KeyError: 'mode'", "module_kinds.py:", "(40, 6)"],
    ),
    "rows left out by a mask": (
        lambda: Of(lambda self, x: self.head(x[x[:, 0] < 9])),
        ROWS,
        ["number of rows", "torch.where"],
    ),
    "branch on tensor values": (
        lambda: Of(lambda self, x: self.head(x if x.sum() > 0 else -x)),
        ROWS,
        ["branches on tensor values", "module_kinds.py:", "torch.where"],
    ),
    "float() of a tensor": (
        lambda: Of(lambda self, x: self.head(x) * float(x.amax())),
        ROWS,
        ["tensor values", "float()"],
    ),
    "cdist": (
        lambda: Of(lambda self, x: torch.cdist(x, self.head.weight)),
        ROWS,
        ["larger or smaller batches", "batch <= 25", ".norm(dim=-1)"],
    ),
    "loop over the rows": (
        lambda: Of(lambda self, x: torch.stack([self.head(row) for row in x])),
        ROWS,
        ["has a fixed batch size", "loops over the rows"],
    ),
    "torch.autograd.Function": (
        lambda: Of(lambda self, x: Clip.apply(self.head(x))),
        ROWS,
        ["torchscript cannot hold Clip", "--format onnx"],
    ),
    "torch.linalg.inv": (
        lambda: Of(lambda self, x: self.head(torch.linalg.inv(x[:, :4].view(-1, 2, 2) + torch.eye(2)).flatten(1)), 4),
        ROWS,
        ["ONNX has no operator for aten.linalg_inv_ex", "--format torchscript"],
    ),
}
"""Networks of which none is made, with raw inputs and words of the refusal."""
