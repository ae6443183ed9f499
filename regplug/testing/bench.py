"""Small networks and data of the kit's own: rows of six features or 6x6 images, in float64.

The activations are tanh: no kink disturbs a numerical derivative.
"""

from __future__ import annotations

from collections import OrderedDict
from collections.abc import Callable, Mapping

import torch
from torch import Tensor, nn

from regplug.api import Layout, Task, TaskKind
from regplug.training.loop import Pools
from regplug.training.state import Pool

FEATURES, HIDDEN, OUTPUTS, SIDE = 6, 8, 3, 6
TRAIN_ROWS, BATCH = 20, 8
"""Three steps an epoch; the last batch has four rows."""

CLASSES = Task(kind="classification", num_outputs=OUTPUTS, class_names=("a", "b", "c"))
VALUES = Task(kind="regression", num_outputs=OUTPUTS)
TASKS: Mapping[TaskKind, Task] = {"classification": CLASSES, "regression": VALUES}


def mlp() -> nn.Module:
    """6-8-8-3 on rows."""
    return nn.Sequential(
        OrderedDict(
            hidden1=nn.Linear(FEATURES, HIDDEN),
            activation1=nn.Tanh(),
            hidden2=nn.Linear(HIDDEN, HIDDEN),
            activation2=nn.Tanh(),
            output=nn.Linear(HIDDEN, OUTPUTS),
        )
    )


def normed() -> nn.Module:
    """6-8-3 on rows, with a batch normalization of the network's own."""
    return nn.Sequential(
        OrderedDict(
            hidden1=nn.Linear(FEATURES, HIDDEN),
            norm1=nn.BatchNorm1d(HIDDEN),
            activation1=nn.Tanh(),
            output=nn.Linear(HIDDEN, OUTPUTS),
        )
    )


def cnn() -> nn.Module:
    """One convolution of four channels on 6x6 images, then the outputs."""
    return nn.Sequential(
        OrderedDict(
            conv1=nn.Conv2d(1, 4, 3),
            activation1=nn.Tanh(),
            flatten=nn.Flatten(),
            output=nn.Linear(4 * (SIDE - 2) ** 2, OUTPUTS),
        )
    )


class Branch(nn.Sequential):
    """What a residual connection adds."""

    is_branch = True


class Residual(nn.Module):
    """6-8-3 on rows, with two residual connections."""

    def __init__(self) -> None:
        super().__init__()
        self.stem, self.output = nn.Linear(FEATURES, HIDDEN), nn.Linear(HIDDEN, OUTPUTS)
        self.branch1, self.branch2 = (Branch(nn.Tanh(), nn.Linear(HIDDEN, HIDDEN)) for _ in range(2))

    def forward(self, x: Tensor) -> Tensor:
        """Adds each branch to what it gets."""
        x = self.stem(x)
        x = x + self.branch1(x)
        logits: Tensor = self.output(x + self.branch2(x))
        return logits


NETWORKS: Mapping[str, Callable[[], nn.Module]] = {"mlp": mlp, "cnn": cnn, "normed": normed}

SPECIAL_NETWORKS: Mapping[str, Callable[[], nn.Module]] = {"residual": Residual}
"""For components that refuse all of the others."""


def network(name: str, dtype: torch.dtype, seed: int = 0) -> nn.Module:
    """One of the networks, with weights from a seed."""
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(seed)
        return {**NETWORKS, **SPECIAL_NETWORKS}[name]().to(dtype).train()


def layout(name: str) -> Layout:
    """What one input of a network is."""
    return "image" if name == "cnn" else "row"


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
