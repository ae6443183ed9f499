"""Modules with several inputs or outputs, or symbolic axes, and functions that run them: for tests of their bundles."""

from __future__ import annotations

from typing import NamedTuple

import numpy as np
import onnxruntime
import torch
from torch import Tensor, nn

RNG = np.random.default_rng(0)
IMAGES = RNG.integers(0, 256, (12, 3, 8, 9), np.uint8)
META = RNG.normal(size=(12, 5)).astype(np.float32)
SEQUENCES = RNG.normal(size=(12, 6, 4)).astype(np.float32)
TOKENS = RNG.integers(0, 11, (12, 6))
MASK = np.arange(6)[None] < RNG.integers(2, 7, (12, 1))
NAMES = ("iris", "rose", "tulip")


class Unit(nn.Module):
    def forward(self, x: Tensor) -> Tensor:
        return x.float() / 255


class Both(nn.Module):
    """Images of any size and rows to logits and an embedding, as a tuple."""

    def __init__(self) -> None:
        super().__init__()
        self.conv, self.rows, self.head = nn.Conv2d(3, 4, 3), nn.Linear(5, 4), nn.Linear(8, 3)

    def forward(self, image: Tensor, meta: Tensor) -> tuple[Tensor, Tensor]:
        embedding = torch.cat([self.conv(image).relu().mean((2, 3)), self.rows(meta)], 1)
        return self.head(embedding), embedding


class Dicts(nn.Module):
    """A dict of tokens and a mask to a dict with an entry that is no tensor."""

    def __init__(self) -> None:
        super().__init__()
        self.embed, self.tags = nn.Embedding(11, 8), nn.Linear(8, 5)
        layer = nn.TransformerEncoderLayer(8, 2, 16, batch_first=True)
        self.encoder = nn.TransformerEncoder(layer, 1, enable_nested_tensor=False)

    def forward(self, batch: dict[str, Tensor]) -> dict[str, object]:
        hidden = self.encoder(self.embed(batch["tokens"]) * batch["mask"][..., None])
        return {"tags": self.tags(hidden), "pooled": hidden.mean(1), "kind": "encoder"}


class Quantiles(NamedTuple):
    low: Tensor
    median: Tensor
    high: Tensor


class Recurrent(nn.Module):
    """Sequences of any length to quantiles, as a named tuple."""

    def __init__(self, layer: type[nn.Module] = nn.GRU) -> None:
        super().__init__()
        self.rnn, self.head = layer(4, 6, batch_first=True), nn.Linear(6, 3)

    def forward(self, x: Tensor) -> Quantiles:
        return Quantiles(*self.head(self.rnn(x)[0][:, -1]).unbind(1))


def segmenting() -> nn.Module:
    """Fully convolutional: a map of half the size."""
    return nn.Sequential(nn.Conv2d(3, 4, 3, stride=2, padding=1), nn.BatchNorm2d(4), nn.ReLU(), nn.Conv2d(4, 2, 1))


class Of(nn.Module):
    """A linear layer and a function of it."""

    def __init__(self, forward, width: int = 4) -> None:
        super().__init__()
        self.head, self._forward = nn.Linear(width, 3), forward

    def forward(self, x: Tensor):
        return self._forward(self, x)


def torch_answers(network, arrays, *, as_dict=False):
    with torch.no_grad():
        tensors = {name: torch.from_numpy(array) for name, array in arrays.items()}
        return network.eval()(tensors) if as_dict else network.eval()(**tensors)


def onnx_answers(bundle, arrays):
    session = onnxruntime.InferenceSession(str(bundle / "model.onnx"))
    names = [output.name for output in session.get_outputs()]
    return dict(zip(names, session.run(names, arrays), strict=True))
