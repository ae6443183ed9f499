"""Sound networks put together at random, trained for a few steps: on none of them may a check raise a false alarm.

Shape letters: B rows, C channels, H height, W width, T steps, F features.
"""

from __future__ import annotations

import random
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import numpy as np
import torch
from made_bundles import Normalize
from torch import Tensor, nn

from regplug.api import Task
from regplug.bundles.formats import Array
from regplug.bundles.request import BundleRequest, Layout

ACTIVATIONS = (nn.ReLU, nn.Tanh, nn.GELU, nn.SiLU, nn.ELU, nn.LeakyReLU, nn.Softplus, nn.Hardswish, nn.Mish, nn.PReLU)
TOKENS = 11


class Residual(nn.Module):
    """What a body gives, added to its input."""

    def __init__(self, body: nn.Module) -> None:
        super().__init__()
        self.body = body

    def forward(self, x: Tensor) -> Tensor:
        return x + self.body(x)


class LastStep(nn.Module):
    """The last step of a recurrent layer."""

    def __init__(self, layer: nn.Module) -> None:
        super().__init__()
        self.layer = layer

    def forward(self, x_BTF: Tensor) -> Tensor:
        return self.layer(x_BTF)[0][:, -1]


class OverSteps(nn.Module):
    """The mean or the largest number over all steps."""

    def __init__(self, is_mean: bool) -> None:
        super().__init__()
        self.is_mean = is_mean

    def forward(self, x_BTF: Tensor) -> Tensor:
        return x_BTF.mean(1) if self.is_mean else x_BTF.amax(1)


def activation(draw: random.Random) -> nn.Module:
    return draw.choice(ACTIVATIONS)()


def dense(draw: random.Random, width: int, outputs: int) -> list[nn.Module]:
    """Layers for (B, F)."""
    layers: list[nn.Module] = []
    for _ in range(draw.randint(0, 3)):
        wider = draw.choice((5, 16, 24))
        norm = draw.choice((nn.BatchNorm1d, nn.LayerNorm, nn.Identity))(wider)
        layers += [nn.Linear(width, wider, bias=draw.random() < 0.8), norm, activation(draw), nn.Dropout(0.2)]
        if draw.random() < 0.3:
            layers.append(Residual(nn.Sequential(nn.Linear(wider, wider), activation(draw))))
        width = wider
    return [*layers, nn.Linear(width, outputs)]


def convolutional(draw: random.Random, channels: int, outputs: int) -> list[nn.Module]:
    """Layers for (B, C, 8, 8)."""
    layers: list[nn.Module] = []
    for _ in range(draw.randint(1, 2)):
        wider = draw.choice((4, 8))
        norms = (nn.BatchNorm2d(wider), nn.GroupNorm(2, wider), nn.InstanceNorm2d(wider, affine=True), nn.Identity())
        pools = (nn.MaxPool2d(2), nn.AvgPool2d(2), nn.Identity())
        conv = nn.Conv2d(channels, wider, 3, padding=1, padding_mode=draw.choice(("zeros", "reflect", "replicate")))
        layers += [conv, draw.choice(norms), activation(draw), draw.choice(pools), nn.Dropout2d(0.1)]
        channels = wider
    side = draw.choice((1, 2))
    pool = draw.choice((nn.AdaptiveAvgPool2d, nn.AdaptiveMaxPool2d))(side)
    return [*layers, pool, nn.Flatten(), *dense(draw, channels * side**2, outputs)]


def sequential(draw: random.Random, width: int, outputs: int) -> list[nn.Module]:
    """Layers for (B, T, F)."""
    recurrent = draw.choice((nn.GRU, nn.LSTM, nn.RNN))
    encoder = nn.TransformerEncoderLayer(
        12, 2, 16, activation=draw.choice(("relu", "gelu")), batch_first=True, norm_first=draw.random() < 0.5
    )
    kinds: tuple[list[nn.Module], ...] = (
        [LastStep(recurrent(width, 12, batch_first=True, num_layers=draw.randint(1, 2)))],
        [nn.Linear(width, 12), encoder, OverSteps(draw.random() < 0.5)],
        [nn.Linear(width, 12), nn.LayerNorm(12), activation(draw), OverSteps(draw.random() < 0.5)],
    )
    return [*draw.choice(kinds), *dense(draw, 12, outputs)]


@dataclass(frozen=True)
class Kind:
    """A kind of input: its raw rows, what makes them small, and the layers for it."""

    layout: Layout
    samples: Callable[[np.random.Generator, int], Array]
    preprocess: Callable[[], nn.Module]
    layers: Callable[[random.Random, int], list[nn.Module]]
    value_range: tuple[float, float] | None = None


def normal(shape: tuple[int, ...], mean: float, spread: float) -> Callable[[np.random.Generator, int], Array]:
    return lambda draw, count: draw.normal(mean, spread, (count, *shape)).astype(np.float32)


KINDS = (
    Kind("row", normal((6,), 5, 2), lambda: Normalize(5.0, 0.5), lambda draw, out: dense(draw, 6, out)),
    Kind("row", normal((9,), 2e4, 3e3), lambda: Normalize(2e4, 1 / 3e3), lambda draw, out: dense(draw, 9, out)),
    Kind("row", normal((6,), 0, 1e-3), lambda: Normalize(0.0, 1e3), lambda draw, out: dense(draw, 6, out)),
    Kind(
        "image",
        lambda draw, count: draw.integers(0, 256, (count, 3, 8, 8), np.uint8),
        lambda: Normalize(0.0, 1 / 255),
        lambda draw, out: convolutional(draw, 3, out),
        (0.0, 255.0),
    ),
    Kind(
        "image",
        lambda draw, count: draw.uniform(0, 1, (count, 1, 8, 8)).astype(np.float32),
        lambda: Normalize(0.5, 2.0),
        lambda draw, out: convolutional(draw, 1, out),
        (0.0, 1.0),
    ),
    Kind("array", normal((5, 6), 0, 1), nn.Identity, lambda draw, out: sequential(draw, 6, out)),
    Kind(
        "row",
        lambda draw, count: draw.integers(1, TOKENS, (count, 5)),
        nn.Identity,
        lambda draw, out: [nn.Embedding(TOKENS, 6), *sequential(draw, 6, out)],
    ),
)


def random_request(seed: int, formats: Any) -> BundleRequest:
    """A sound network of some kind, with one, three or eighty example rows.

    Args:
        seed: Each gives another network.
        formats: What it is exported to.
    """
    draw, kind = random.Random(seed), KINDS[seed % len(KINDS)]
    samples = kind.samples(np.random.default_rng(seed), 80)
    is_classification, outputs = draw.random() < 0.7, draw.choice((2, 3, 7))
    torch.manual_seed(seed)
    network = nn.Sequential(*kind.layers(draw, outputs))
    train(network, kind.preprocess()(torch.from_numpy(samples)))
    return BundleRequest(
        module=network,
        preprocess=kind.preprocess(),
        samples=samples[: draw.choice((1, 3, 80))],
        layout=kind.layout,
        task=Task(kind="classification" if is_classification else "regression", num_outputs=outputs),
        formats=formats,
        value_range=kind.value_range if draw.random() < 0.7 else None,
        probabilities=is_classification and draw.random() < 0.3,
    )


def train(network: nn.Module, x: Tensor) -> None:
    """Some steps of Adam on noise, so that weights and running statistics have moved."""
    target = torch.randn(network(x).shape)
    optimizer = torch.optim.Adam(network.parameters(), lr=0.02)
    for _ in range(8):
        optimizer.zero_grad()
        nn.functional.mse_loss(network(x), target).backward()
        optimizer.step()
