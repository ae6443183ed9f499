"""The runtime contract of a regularizer: a handful of pure functions of one run.

Each function takes one run's tensors and returns new ones. The host calls it as it is for one run and through
`torch.func.vmap` for a stack of many. So a function reads every number that may differ between runs from
`step.settings`, draws no random numbers of its own, writes to no tensor that it was given, and branches on no tensor's
value. Every function has a neutral default; `regplug.regularization.composition.compose` returns a regularizer, and
`identity` changes nothing.

Shape letters: B rows of the batch, K outputs.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, ClassVar, Literal, NamedTuple

from torch import Tensor

from regplug.api import NoParams, Task
from regplug.regularization.step import Batch, Clock, Noise, Outputs, Role, Settings, Step, Tensors

if TYPE_CHECKING:
    from torch import nn

    from regplug.noise import Draw
    from regplug.sites import Place, Sites

Loss = Callable[..., tuple[Tensor, Outputs]]
"""`loss(params, number=0, x=..., y=..., buffers=...) -> (scalar, outputs)`: the data loss at these parameters in the
forward pass of that number, which has noise of its own. What is left out is the run's own."""

Member = tuple[Tensors, Tensors]
"""Parameters and buffers of one network."""


@dataclass(frozen=True, kw_only=True)
class Shapes:
    """What a regularizer may know when it says which noise it needs and with which state it starts.

    Args:
        x: Shape of a batch of inputs, the batch first.
        y: Shape of a batch of targets as they come.
        outputs: Shape of a batch of logits or values, `(B, K)`.
        places: Where its own layers are, in the order in which it put them, with shapes.
        params: Name -> shape of each trained parameter, those that other regularizers brought included.
        weights: Name -> shape of each effective weight, under the names that `penalty`, `decay` and `project` get.
        rows: Rows of the training split.
        low: Least value of a normalised input that the dataset declares, of a shape that goes with one input: in
            `init` alone, and `None` where it declares none.
        high: Greatest value, likewise.
    """

    x: tuple[int, ...]
    y: tuple[int, ...]
    outputs: tuple[int, int]
    places: tuple[Place, ...] = ()
    params: Mapping[str, tuple[int, ...]]
    weights: Mapping[str, tuple[int, ...]]
    rows: int
    low: Tensor | None = None
    high: Tensor | None = None


class EpochEnd(NamedTuple):
    """What `after_epoch` returns.

    Args:
        params: The parameters to go on with.
        buffers: The buffers to go on with.
        state: The component's state.
        stop: Boolean scalar: whether the run ends here; `None` means no.
        rate_scale: Factor on the learning rate from here on; `None` means 1.
    """

    params: Tensors
    buffers: Tensors
    state: Tensors
    stop: Tensor | None = None
    rate_scale: Tensor | None = None


class Notice(NamedTuple):
    """What a component has to say about a composition before anything runs.

    Args:
        kind: `refuse` stops the run; `warn` is shown and logged.
        message: What is doubtful or contradictory, and why.
        hint: What to do instead.
    """

    kind: Literal["refuse", "warn"]
    message: str
    hint: str = ""


@dataclass(frozen=True, kw_only=True)
class RunContext:
    """What the run consists of, for `RegularizerFunctions.check`.

    Args:
        tags: Key of each *other* regularizer -> its name and tags.
        params: Key of each other regularizer -> its parameters.
        model: Name of the model.
        activation: Name of the chosen activation; empty where the model takes its own.
        optimizer: Name of the optimizer.
        loss: Name of the data loss.
        batch_size: Rows in a batch.
        train_rows: Rows of the training split.
        task: What is learned.
        has_validation: Whether there is a validation split.
        has_range: Whether the dataset declares the least and the greatest value of its inputs.
        has_batch_norm: Whether the model, as restructured, keeps running statistics.
        batch_norm_after: Whether one of this component's own places lies before a batch normalization.
    """

    tags: Mapping[str, frozenset[str]]
    params: Mapping[str, Any]
    model: str
    activation: str
    optimizer: str
    batch_size: int
    train_rows: int
    task: Task
    has_validation: bool
    has_batch_norm: bool
    batch_norm_after: bool = False
    has_range: bool = False
    loss: str = ""

    def others(self, tag: str) -> list[str]:
        """Keys of the other regularizers that bear this name or tag."""
        return [key for key, tags in self.tags.items() if tag in tags]


class RegularizerFunctions:
    """One regularizer. Override what it needs; everything else is neutral.

    Args:
        params: An instance of the descriptor's parameter dataclass. Numbers marked `Stackable` are read from
            `step.settings` instead.
    """

    needs_soft_targets: ClassVar[bool] = False
    """Whether `batch` wants class probabilities `(B, K)` instead of class indices `(B,)`."""

    passes: ClassVar[int] = 1
    """How many forward passes with noise of their own one step makes."""

    def __init__(self, params: Any = None) -> None:
        self.params: Any = NoParams() if params is None else params

    def check(self, context: RunContext) -> Iterator[Notice]:
        """Refuses or doubts a composition that its descriptor cannot describe."""
        yield from ()

    def restructure(self, model: nn.Module, sites: Sites) -> None:
        """Puts layers, parametrizations or modules into the model, once, through `sites`."""

    def noise(self, shapes: Shapes, settings: Mapping[str, Any]) -> Mapping[str, Draw]:
        """Says which random numbers it needs at each step.

        Args:
            shapes: Shapes of a full batch, of its places and of the parameters.
            settings: This run's parameters as Python numbers.

        Returns:
            Key -> draw. Places draw under their own keys (`Place.key`).
        """
        return {}

    def init(self, shapes: Shapes, params: Tensors, buffers: Tensors) -> dict[str, Tensor]:
        """Returns the state to start with: tensors, which the host saves and restores."""
        return {}

    def batch(self, step: Step, x: Tensor, y: Tensor) -> tuple[Tensor, Tensor]:
        """Changes the batch: inputs `(B, ...)` and targets."""
        return x, y

    def sample_losses(self, step: Step, losses: Tensor, outputs: Outputs) -> Tensor:
        """Changes or weights the loss of each row, `(B,)`; the data loss is the mean of what it returns."""
        return losses

    def penalty(self, step: Step, weights: Tensors, outputs: Outputs) -> Tensor | None:
        """Returns a scalar to add to the loss. `weights` are effective weights; see `Step.select`."""
        return None

    def wrap_loss(self, step: Step, loss: Loss) -> Loss:
        """Returns a loss around `loss`, for more passes or another point."""
        return loss

    def perturb(self, step: Step, params: Tensors, grads: Tensors) -> Tensors | None:
        """Returns the point at which to take the gradient instead; `None` keeps the one there is."""
        return None

    def gradients(self, step: Step, params: Tensors, grads: Tensors) -> tuple[Tensors, Tensors]:
        """Changes the gradients before the optimizer sees them; returns them and the state."""
        return grads, step.state

    def decay(self, step: Step, name: str, weight: Tensor) -> Tensor | None:
        """Returns the decoupled decay of one effective weight: `weight * (1 - rate * strength)`; `None` is none."""
        return None

    def after_step(self, step: Step, params: Tensors) -> tuple[Tensors, Tensors]:
        """Changes the parameters after the optimizer's update; returns them and the state."""
        return params, step.state

    def project(self, step: Step, name: str, weight: Tensor) -> Tensor:
        """Returns the nearest allowed value of one effective weight, or `weight` itself where any is allowed."""
        return weight

    def after_epoch(self, step: Step, metrics: Tensors, params: Tensors, buffers: Tensors) -> EpochEnd:
        """Acts at the end of an epoch, which `step.clock.epoch` counts; `metrics` are scalars such as `valid/loss`."""
        return EpochEnd(params, buffers, step.state)

    def evaluated(self, step: Step, params: Tensors, buffers: Tensors) -> Member:
        """Returns the parameters and buffers to evaluate in the middle of training."""
        return params, buffers

    def finalize(
        self, step: Step, params: Tensors, buffers: Tensors, batches: Iterable[Step]
    ) -> Member | Sequence[Member]:
        """Returns the parameters and buffers that the run ends with, or those of each member of an ensemble.

        Called for each run alone, and idempotent.

        Args:
            step: The step after the last one, without a batch.
            params: Name -> parameter.
            buffers: Name -> buffer.
            batches: The training batches once more, each as a step with noise of its own; can be iterated again.
        """
        return params, buffers


class Identity(RegularizerFunctions):
    """Changes nothing: the neutral element of `compose`."""


identity = Identity()

__all__ = [
    "Batch",
    "Clock",
    "EpochEnd",
    "Identity",
    "Loss",
    "Member",
    "Noise",
    "Notice",
    "Outputs",
    "RegularizerFunctions",
    "Role",
    "RunContext",
    "Settings",
    "Shapes",
    "Step",
    "Tensors",
    "identity",
]
