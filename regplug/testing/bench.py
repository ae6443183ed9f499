"""The kit's own small networks and data: rows of six features or 6x6 images, in float64.

The activations are tanh unless a component needs another one: no kink disturbs a numerical derivative.
"""

from __future__ import annotations

from collections import OrderedDict
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from functools import partial

import torch
from torch import Tensor, nn
from torch.nn.utils.parametrizations import weight_norm

from regplug.api import Layout, Task, TaskKind
from regplug.testing.generators import torch_seeded
from regplug.training.course import Pools
from regplug.training.state import Pool

FEATURES, HIDDEN, OUTPUTS, SIDE = 6, 8, 3, 6
TRAIN_ROWS, BATCH = 20, 8
"""Three steps per epoch; the last batch has four rows."""

CLASSES = Task(kind="classification", num_outputs=OUTPUTS, class_names=("a", "b", "c"))
VALUES = Task(kind="regression", num_outputs=OUTPUTS)
LABELS = Task(kind="multilabel", num_outputs=OUTPUTS, class_names=("a", "b", "c"))
TASKS: Mapping[TaskKind, Task] = {"classification": CLASSES, "regression": VALUES, "multilabel": LABELS}

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


_WHOLE = -1
"""One norm for the whole weight: torch's weight normalization gives NaN for a row of zeros."""


def weight_normed(activate: Activate) -> nn.Module:
    """6-8-3 on rows, with torch's weight normalization on both weights."""
    return nn.Sequential(
        OrderedDict(
            hidden1=weight_norm(nn.Linear(FEATURES, HIDDEN), dim=_WHOLE),
            activation1=activate(),
            output=weight_norm(nn.Linear(HIDDEN, OUTPUTS), dim=_WHOLE),
        )
    )


class Branch(nn.Sequential):
    """The branch of a residual connection."""

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


class Twice(nn.Module):
    """6-8-8-8-3 on rows, with a layer that is called twice and an activation that is called three times."""

    def __init__(self, activate: Activate) -> None:
        super().__init__()
        self.hidden1, self.shared = nn.Linear(FEATURES, HIDDEN), nn.Linear(HIDDEN, HIDDEN)
        self.activation, self.output = activate(), nn.Linear(HIDDEN, OUTPUTS)

    def forward(self, x: Tensor) -> Tensor:
        """Logits or values `(B, 3)` of rows `(B, 6)`."""
        x = self.activation(self.hidden1(x))
        for _ in range(2):
            x = self.activation(self.shared(x))
        return self.output(x)  # type: ignore[no-any-return] # nn.Module returns Any


@dataclass(frozen=True, kw_only=True)
class Network:
    """A network on which regularizers are checked.

    Args:
        make: Makes a new one; it may draw its weights from torch's global generator, which is seeded.
        input_shape: Shape of one input, without the batch.
        num_outputs: Logits or values that it returns for each input.
        takes_activation: Whether `make` takes a function that makes the activation.
    """

    make: Callable[..., nn.Module]
    input_shape: tuple[int, ...] = (FEATURES,)
    num_outputs: int = OUTPUTS
    takes_activation: bool = False

    @property
    def layout(self) -> Layout:
        """Layout of one input."""
        return "image" if len(self.input_shape) == 3 else "row" if len(self.input_shape) == 1 else "array"

    def built(self, dtype: torch.dtype, seed: int = 0, activate: Activate = nn.Tanh) -> nn.Module:
        """Creates the network with weights from a seed."""
        with torch_seeded(seed):
            made = self.make(activate) if self.takes_activation else self.make()
            return made.to(dtype).train()

    def task(self, kind: TaskKind) -> Task:
        """Tasks that it can learn."""
        names = tuple(f"class{number}" for number in range(self.num_outputs)) if kind != "regression" else ()
        return Task(kind=kind, num_outputs=self.num_outputs, class_names=names)

    def inputs(self, rows: int, dtype: torch.dtype = torch.float64, seed: int = 0) -> Tensor:
        """Creates inputs: standard normal."""
        return torch.randn((rows, *self.input_shape), dtype=dtype, generator=_generator(seed))

    def pools(self, task: Task, dtype: torch.dtype = torch.float64) -> Pools:
        """Training, validation and test rows."""
        train, valid, test = (
            Pool(x=self.inputs(rows, dtype, seed=10 + part), y=targets(task, rows, dtype, seed=20 + part))
            for part, rows in enumerate((TRAIN_ROWS, 8, 8))
        )
        return Pools(train=train, valid=valid, test=test)


_IMAGE = (1, SIDE, SIDE)
NETWORKS: Mapping[str, Network] = {
    name: Network(make=make, input_shape=shape, takes_activation=True)
    for name, make, shape in (
        ("mlp", mlp, (FEATURES,)),
        ("cnn", cnn, _IMAGE),
        ("normed", normed, (FEATURES,)),
        ("residual", residual, (FEATURES,)),
        ("residual_cnn", residual_cnn, _IMAGE),
        ("twice", Twice, (FEATURES,)),
        ("weight_normed", weight_normed, (FEATURES,)),
    )
}
RESIDUAL = ("residual", "residual_cnn")
"""Those of components that need residual connections; of the others only the first."""


_BATCH_NORMS = (nn.BatchNorm1d, nn.BatchNorm2d, nn.BatchNorm3d, nn.SyncBatchNorm)


def has_batch_norm(model: nn.Module) -> bool:
    """Whether it computes statistics over the batch, which one row does not have."""
    return any(isinstance(module, _BATCH_NORMS) for module in model.modules())


def targets(task: Task, rows: int, dtype: torch.dtype = torch.float64, seed: int = 1) -> Tensor:
    """Classes `(rows,)`, one after the other; or labels of 0 and 1, or values, `(rows, K)`."""
    if task.is_classification:
        return torch.arange(rows) % task.num_outputs
    if task.is_multilabel:
        return torch.randint(2, (rows, task.num_outputs), generator=_generator(seed)).to(dtype)
    return torch.randn((rows, task.num_outputs), dtype=dtype, generator=_generator(seed))


def _generator(seed: int) -> torch.Generator:
    return torch.Generator().manual_seed(seed)
