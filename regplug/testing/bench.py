"""Small networks and data of the kit's own: rows of six features or 6x6 images, in float64.

The activations are tanh unless a component needs another one: no kink disturbs a numerical derivative.
"""

from __future__ import annotations

from collections import OrderedDict
from collections.abc import Callable, Mapping
from functools import partial

import torch
from torch import Tensor, nn

from regplug.api import Layout, Task, TaskKind
from regplug.training.course import Pools
from regplug.training.state import Pool

FEATURES, HIDDEN, OUTPUTS, SIDE = 6, 8, 3, 6
TRAIN_ROWS, BATCH = 20, 8
"""Three steps per epoch; the last batch has four rows."""

CLASSES = Task(kind="classification", num_outputs=OUTPUTS, class_names=("a", "b", "c"))
VALUES = Task(kind="regression", num_outputs=OUTPUTS)
TASKS: Mapping[TaskKind, Task] = {"classification": CLASSES, "regression": VALUES}


Activate = Callable[[], nn.Module]


def mlp(activate: Activate) -> nn.Module:
    """6-8-8-3 on rows."""
    return nn.Sequential(
        OrderedDict(
            hidden1=nn.Linear(FEATURES, HIDDEN),
            activation1=activate(),
            hidden2=nn.Linear(HIDDEN, HIDDEN),
            activation2=activate(),
            output=nn.Linear(HIDDEN, OUTPUTS),
        )
    )


def normed(activate: Activate) -> nn.Module:
    """6-8-3 on rows, with a batch normalization of the network's own."""
    return nn.Sequential(
        OrderedDict(
            hidden1=nn.Linear(FEATURES, HIDDEN),
            norm1=nn.BatchNorm1d(HIDDEN),
            activation1=activate(),
            output=nn.Linear(HIDDEN, OUTPUTS),
        )
    )


def cnn(activate: Activate) -> nn.Module:
    """One convolution of four channels on 6x6 images, then the outputs."""
    return nn.Sequential(
        OrderedDict(
            conv1=nn.Conv2d(1, 4, 3),
            activation1=activate(),
            flatten=nn.Flatten(),
            output=nn.Linear(4 * (SIDE - 2) ** 2, OUTPUTS),
        )
    )


class Branch(nn.Sequential):
    """What a residual connection adds."""

    is_branch = True


class Residual(nn.Module):
    """A stem, an activation, two residual connections and the outputs.

    Args:
        stem: From the inputs to what the branches change.
        activate: Makes the activation.
        layer: Makes a layer of a branch, which keeps the shape.
        width: Numbers that reach the outputs.
    """

    def __init__(self, stem: nn.Module, activate: Activate, layer: Activate, width: int) -> None:
        super().__init__()
        self.stem, self.activation0 = stem, activate()
        self.branch1, self.branch2 = (
            Branch(OrderedDict(first=layer(), activation=activate(), second=layer())) for _ in range(2)
        )
        self.flatten, self.output = nn.Flatten(), nn.Linear(width, OUTPUTS)

    def forward(self, x: Tensor) -> Tensor:
        """Returns the logits `(B, 3)`."""
        x = self.activation0(self.stem(x))
        x = x + self.branch1(x)
        return self.output(self.flatten(x + self.branch2(x)))  # type: ignore[no-any-return] # a module's


def residual(activate: Activate) -> nn.Module:
    """6-8-3 on rows, with two residual connections of one hidden layer."""
    return Residual(nn.Linear(FEATURES, HIDDEN), activate, partial(nn.Linear, HIDDEN, HIDDEN), HIDDEN)


def residual_cnn(activate: Activate) -> nn.Module:
    """One convolution of four channels on 6x6 images and two residual connections of two more, then the outputs."""
    layer = partial(nn.Conv2d, 4, 4, 3, padding=1)
    return Residual(nn.Conv2d(1, 4, 3), activate, layer, 4 * (SIDE - 2) ** 2)


NETWORKS: Mapping[str, Callable[[Activate], nn.Module]] = {"mlp": mlp, "cnn": cnn, "normed": normed}
"""The networks on which every component is tried."""

RESIDUAL_NETWORKS: Mapping[str, Callable[[Activate], nn.Module]] = {"residual": residual, "residual_cnn": residual_cnn}
"""For components that need residual connections: they say so, or refuse all of the others."""


def network(name: str, dtype: torch.dtype, seed: int = 0, activate: Activate = nn.Tanh) -> nn.Module:
    """One of the networks, with weights from a seed."""
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(seed)
        return {**NETWORKS, **RESIDUAL_NETWORKS}[name](activate).to(dtype).train()


def layout(name: str) -> Layout:
    """What one input of a network is."""
    return "image" if name in ("cnn", "residual_cnn") else "row"


def inputs(name: str, rows: int, dtype: torch.dtype = torch.float64, seed: int = 0) -> Tensor:
    """Inputs for a network: standard normal."""
    shape = (1, SIDE, SIDE) if layout(name) == "image" else (FEATURES,)
    return torch.randn((rows, *shape), dtype=dtype, generator=_generator(seed))


def targets(task: Task, rows: int, dtype: torch.dtype = torch.float64, seed: int = 1) -> Tensor:
    """Classes `(rows,)`, every class among them, or values `(rows, 3)`."""
    if task.is_classification:
        return torch.arange(rows) % OUTPUTS
    return torch.randn((rows, OUTPUTS), dtype=dtype, generator=_generator(seed))


def pools(name: str, task: Task, dtype: torch.dtype = torch.float64) -> Pools:
    """Training, validation and test rows."""
    train, valid, test = (
        Pool(x=inputs(name, rows, dtype, seed=10 + part), y=targets(task, rows, dtype, seed=20 + part))
        for part, rows in enumerate((TRAIN_ROWS, 8, 8))
    )
    return Pools(train=train, valid=valid, test=test)


def _generator(seed: int) -> torch.Generator:
    return torch.Generator().manual_seed(seed)
