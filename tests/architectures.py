"""Small networks of the kinds that people train, each trained for a few steps on noise: what the verifier is tried on.

Shape letters: B rows, C channels, H height, W width, T steps, F features.
"""

from __future__ import annotations

import functools
from collections.abc import Callable
from typing import Any

import numpy as np
import torch
from made_bundles import Normalize
from torch import Tensor, nn

from regplug.api import Task
from regplug.bundles.formats import Array
from regplug.bundles.request import BundleRequest

FOUR = Task(kind="classification", num_outputs=4, class_names=("a", "b", "c", "d"))
SIDE, STEPS, FEATURES = 8, 6, 6


def mlp() -> nn.Module:
    return nn.Sequential(
        nn.Linear(FEATURES, 16), nn.ReLU(), nn.Dropout(0.3), nn.Linear(16, 16), nn.Tanh(), nn.Linear(16, 4)
    )


def cnn() -> nn.Module:
    return nn.Sequential(
        nn.Conv2d(1, 6, 3), nn.ReLU(), nn.MaxPool2d(2), nn.Dropout2d(0.2), nn.Flatten(), nn.Linear(54, 12), nn.GELU(),
        nn.Linear(12, 4),
    )  # fmt: skip


def lenet() -> nn.Module:
    return nn.Sequential(
        nn.Conv2d(1, 6, 3, padding=1), nn.BatchNorm2d(6), nn.Sigmoid(), nn.AvgPool2d(2),
        nn.Conv2d(6, 8, 3, padding=1), nn.BatchNorm2d(8), nn.ReLU(), nn.AvgPool2d(2),
        nn.Flatten(), nn.Linear(32, 16), nn.BatchNorm1d(16), nn.Sigmoid(), nn.Dropout(0.5), nn.Linear(16, 4),
    )  # fmt: skip


class Residual(nn.Module):
    """Two residual blocks with batch norm, averaged over the image."""

    def __init__(self) -> None:
        super().__init__()
        self.stem = nn.Conv2d(1, 8, 3, padding=1)
        self.blocks = nn.ModuleList(
            nn.Sequential(
                nn.Conv2d(8, 8, 3, padding=1, bias=False), nn.BatchNorm2d(8), nn.ReLU(), nn.Conv2d(8, 8, 3, padding=1)
            )
            for _ in range(2)
        )
        self.head = nn.Linear(8, 4)

    def forward(self, x_BCHW: Tensor) -> Tensor:
        x_BCHW = self.stem(x_BCHW)
        for block in self.blocks:
            x_BCHW = torch.relu(x_BCHW + block(x_BCHW))
        return self.head(x_BCHW.mean((2, 3)))


class UNet(nn.Module):
    """One level down and up with a skip, to a number for each pixel."""

    def __init__(self) -> None:
        super().__init__()
        self.down = nn.Sequential(nn.Conv2d(1, 6, 3, padding=1), nn.BatchNorm2d(6), nn.ReLU())
        self.deep = nn.Sequential(nn.MaxPool2d(2), nn.Conv2d(6, 12, 3, padding=1), nn.LeakyReLU(), nn.Dropout2d(0.2))
        self.up = nn.ConvTranspose2d(12, 6, 2, stride=2)
        self.out = nn.Sequential(nn.Conv2d(12, 6, 3, padding=1), nn.SiLU(), nn.Conv2d(6, 1, 1))

    def forward(self, x_BCHW: Tensor) -> Tensor:
        skipped = self.down(x_BCHW)
        return self.out(torch.cat([skipped, self.up(self.deep(skipped))], 1)).flatten(1)


class Recurrent(nn.Module):
    """A GRU read at its last step."""

    def __init__(self) -> None:
        super().__init__()
        self.gru = nn.GRU(FEATURES, 12, batch_first=True)
        self.head = nn.Linear(12, 4)

    def forward(self, x_BTF: Tensor) -> Tensor:
        outputs, _ = self.gru(x_BTF)
        return self.head(outputs[:, -1])


class Transformer(nn.Module):
    """One attention block with layer norms, averaged over the steps."""

    def __init__(self) -> None:
        super().__init__()
        self.embed = nn.Linear(FEATURES, 12)
        self.block = nn.TransformerEncoderLayer(12, 2, 24, dropout=0.1, batch_first=True)
        self.head = nn.Linear(12, 4)

    def forward(self, x_BTF: Tensor) -> Tensor:
        return self.head(self.block(self.embed(x_BTF)).mean(1))


def group_norm() -> nn.Module:
    return nn.Sequential(
        nn.Conv2d(1, 8, 3), nn.GroupNorm(2, 8), nn.ReLU(), nn.InstanceNorm2d(8), nn.AdaptiveAvgPool2d(2), nn.Flatten(),
        nn.Linear(32, 4),
    )  # fmt: skip


ROW, IMAGE, SEQUENCE = "row", "image", "array"
KINDS: dict[str, tuple[Callable[[], nn.Module], str]] = {
    "mlp": (mlp, ROW),
    "cnn": (cnn, IMAGE),
    "lenet": (lenet, IMAGE),
    "residual": (Residual, IMAGE),
    "unet": (UNet, IMAGE),
    "gru": (Recurrent, SEQUENCE),
    "transformer": (Transformer, SEQUENCE),
    "group_norm": (group_norm, IMAGE),
}
"""Network and layout of its input by name."""


def raw_inputs(layout: str, seed: int = 0) -> Array:
    """Eighty raw inputs: bytes of images, else numbers around 5."""
    generator = np.random.default_rng(seed)
    if layout == IMAGE:
        return generator.integers(0, 256, (80, 1, SIDE, SIDE), np.uint8)
    shape = (80, FEATURES) if layout == ROW else (80, STEPS, FEATURES)
    return generator.normal(5, 2, shape).astype(np.float32)


def normalization(layout: str) -> nn.Module:
    return Normalize(0.0, 1 / 255) if layout == IMAGE else Normalize(5.0, 0.5)


@functools.cache
def trained(name: str, seed: int = 0) -> nn.Module:
    """A network after some steps of Adam on noise, so that statistics and weights have moved; in evaluation mode."""
    make, layout = KINDS[name]
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(seed)
        network = make()
        x = normalization(layout)(torch.from_numpy(raw_inputs(layout, seed)))
        target = torch.randn(network(x).shape)
        optimizer = torch.optim.Adam(network.parameters(), lr=0.02)
        for _ in range(15):
            optimizer.zero_grad()
            nn.functional.mse_loss(network(x), target).backward()
            optimizer.step()
    return network.eval()


def request(name: str, formats: Any, network: nn.Module | None = None, seed: int = 0) -> BundleRequest:
    """What a bundle of a trained network is made from."""
    _, layout = KINDS[name]
    is_map = name == "unet"
    return BundleRequest(
        module=network or trained(name, seed),
        preprocess=normalization(layout),
        samples=raw_inputs(layout, seed),
        layout=layout,  # type: ignore[arg-type]
        task=Task(kind="regression", num_outputs=SIDE * SIDE) if is_map else FOUR,
        formats=formats,
        value_range=(0.0, 255.0) if layout == IMAGE else None,
    )
