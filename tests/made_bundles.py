"""Networks and bundle requests that the tests of bundles share."""

from __future__ import annotations

from typing import Any

import numpy as np
import torch
from torch import Tensor, nn

from regplug.api import NoParams, Task
from regplug.bundles.formats import Format
from regplug.bundles.request import BundleRequest
from regplug_formats import OnnxParams
from regplug_formats.onnx_format import Onnx
from regplug_formats.torchscript import TorchScript

FLOWERS = ("iris", "rose", "tulip")
THREE = Task(kind="classification", num_outputs=3, class_names=FLOWERS)


class Normalize(nn.Module):
    def __init__(self, shift: float, scale: float) -> None:
        super().__init__()
        self.register_buffer("shift", torch.tensor(shift))
        self.register_buffer("scale", torch.tensor(scale))

    def forward(self, raw: Tensor) -> Tensor:
        return (raw.to(self.scale.dtype) - self.shift) * self.scale


def mlp() -> nn.Module:
    return nn.Sequential(
        nn.Linear(4, 16), nn.BatchNorm1d(16), nn.ReLU(), nn.Dropout(0.3), nn.Linear(16, 8), nn.Tanh(), nn.Linear(8, 3)
    )


def cnn() -> nn.Module:
    return nn.Sequential(
        nn.Conv2d(1, 4, 3),
        nn.BatchNorm2d(4),
        nn.ReLU(),
        nn.MaxPool2d(2),
        nn.Dropout2d(0.2),
        nn.Flatten(),
        nn.Linear(36, 3),
    )


def trained(network: nn.Module, x: Tensor, steps: int = 20) -> nn.Module:
    """A few steps on noise, so that running statistics have moved; left in training mode."""
    optimizer = torch.optim.SGD(network.parameters(), lr=0.05)
    target = torch.randn(len(x), network(x).shape[1], generator=torch.Generator().manual_seed(1))
    for _ in range(steps):
        optimizer.zero_grad()
        nn.functional.mse_loss(network(x), target).backward()
        optimizer.step()
    return network


def rows(count: int = 80, width: int = 4) -> np.ndarray:
    return np.random.default_rng(0).normal(5, 2, (count, width)).astype(np.float32)


def images(count: int = 80) -> np.ndarray:
    return np.random.default_rng(0).integers(0, 256, (count, 1, 8, 8), np.uint8)


def onnx_only() -> list[tuple[str, str, Format]]:
    return [("onnx", "model.onnx", Onnx(OnnxParams()))]


def both() -> list[tuple[str, str, Format]]:
    return [*onnx_only(), ("torchscript", "model.ts", TorchScript(NoParams()))]


def row_request(network: nn.Module | None = None, **changes: Any) -> BundleRequest:
    """Rows of four numbers to three classes."""
    standard: dict[str, Any] = {
        "module": trained(mlp(), torch.from_numpy(rows() - 5) / 2) if network is None else network,
        "preprocess": Normalize(5.0, 0.5),
        "samples": rows(),
        "layout": "row",
        "task": THREE,
        "formats": both(),
        "manifest": {"column_names": ["a", "b", "c", "d"], "run_id": "0123abcd"},
    }
    return BundleRequest(**{**standard, **changes})


def image_request(network: nn.Module | None = None, **changes: Any) -> BundleRequest:
    """Images of 8 x 8 bytes to three classes."""
    standard: dict[str, Any] = {
        "module": trained(cnn(), torch.from_numpy(images()) / 255) if network is None else network,
        "preprocess": Normalize(0.0, 1 / 255),
        "samples": images(),
        "layout": "image",
        "value_range": (0.0, 255.0),
        "task": THREE,
        "formats": both(),
    }
    return BundleRequest(**{**standard, **changes})
