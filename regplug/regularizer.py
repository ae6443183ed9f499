"""The runtime contract of a regularizer: a handful of pure functions of one run.

Each function takes one run's tensors and returns new ones. The host calls it directly for one run, and through
`torch.func.vmap` for a stack of many. So a function reads every number that may differ between runs from
`step.settings`, draws no random numbers itself, never writes to its arguments, and never branches on a tensor's value.
Every function has a neutral default; `regplug.regularization.composition.compose` returns a regularizer, and `identity`
has no effect.

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
forward pass of that number, which has its own noise. Omitted arguments default to the run's own."""

Member = tuple[Tensors, Tensors]
"""Parameters and buffers of one network."""


@dataclass(frozen=True, kw_only=True)
class Shapes:
    """The shapes that a regularizer knows when it requests noise and creates its state.

    Args:
        x: Shape of a batch of inputs, the batch axis first.
        y: Shape of a batch of targets from the dataset.
        outputs: Shape of a batch of logits or values, `(B, K)`.
        places: The places of its own layers with their shapes, in the order in which it put them.
        params: Name -> shape of each trained parameter, including those that other regularizers added.
        weights: Name -> shape of each effective weight, under the names that `penalty`, `decay` and `project` receive.
        rows: Rows of the training split.
        low: Smallest value of a normalised input that the dataset declares, in a shape that broadcasts over one input.
            Only in `init`; `None` if the dataset declares none.
        high: Largest value, likewise.
        raw: The training rows as the dataset returns them, before normalisation: a NumPy array, only in `init` of a
            run that is not stacked, else `None`.
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
    raw: Any = None


class EpochEnd(NamedTuple):
    """The result of `after_epoch`.

    Args:
        params: The parameters to continue with.
        buffers: The buffers to continue with.
        state: The component's state.
        stop: Boolean scalar: whether the run ends now; `None` means no.
        rate_scale: Factor on the learning rate of all following steps; `None` means 1.
    """

    params: Tensors
    buffers: Tensors
    state: Tensors
    stop: Tensor | None = None
    rate_scale: Tensor | None = None


class Notice(NamedTuple):
    """An error or a warning about a combination of components, before anything runs.

    Args:
        kind: `refuse` ends with an error; `warn` shows and logs a warning.
        message: What is doubtful or contradictory, and why.
        hint: What to do instead.
    """

    kind: Literal["refuse", "warn"]
    message: str
    hint: str = ""


@dataclass(frozen=True, kw_only=True)
class RunContext:
    """The parts of a run, for `RegularizerFunctions.check`.

    Args:
        tags: Key of each *other* regularizer -> its name and tags.
        params: Key of each other regularizer -> its parameters.
        model: Name of the model.
        activation: Name of the chosen activation; empty if the model uses its own default.
        optimizer: Name of the optimizer.
        loss: Name of the data loss.
        batch_size: Rows per batch.
        epochs: Epochs of the run.
        train_rows: Rows of the training split.
        task: The task of the run.
        has_validation: Whether there is a validation split.
        has_range: Whether the dataset declares the smallest and largest value of its inputs.
        has_batch_norm: Whether the model, as restructured, keeps running statistics.
        weights: Names of the parameters whose role is `weight`, as penalties get them, in the order of the model.
        batch_norm_after: Whether one of this component's own places is before a batch normalization.
        has_layer_noise: Whether a layer of the model, as restructured, draws random numbers, so that two training
            passes of one step differ.
    """

    tags: Mapping[str, frozenset[str]]
    params: Mapping[str, Any]
    model: str
    activation: str
    optimizer: str
    batch_size: int
    epochs: int
    train_rows: int
    task: Task
    has_validation: bool
    has_batch_norm: bool
    weights: tuple[str, ...] = ()
    batch_norm_after: bool = False
    has_layer_noise: bool = False
    has_range: bool = False
    loss: str = ""

    def others(self, tag: str) -> list[str]:
        """Keys of the other regularizers that have this name or tag."""
        return [key for key, tags in self.tags.items() if tag in tags]


class RegularizerFunctions:
    """One regularizer. Override the functions it needs; all others have no effect.

    Args:
        params: An instance of the descriptor's parameter dataclass. Read numbers marked `Stackable` from
            `step.settings` instead.
    """

    needs_soft_targets: ClassVar[bool] = False
    """Whether `batch` needs class probabilities `(B, K)` instead of class indices `(B,)`."""

    passes: ClassVar[int] = 1
    """Number of forward passes in one step that have their own noise."""

    def __init__(self, params: Any = None) -> None:
        self.params: Any = NoParams() if params is None else params

    def check(self, context: RunContext) -> Iterator[Notice]:
        """Yields errors and warnings about combinations, beyond what the descriptor can express."""
        yield from ()

    def restructure(self, model: nn.Module, sites: Sites) -> None:
        """Puts layers, parametrizations or modules into the model, once, through `sites`."""

    def noise(self, shapes: Shapes, settings: Mapping[str, Any]) -> Mapping[str, Draw]:
        """Requests the random numbers of each step.

        Args:
            shapes: Shapes of a full batch, of this regularizer's places and of the parameters.
            settings: This run's parameters as Python numbers.

        Returns:
            Key -> draw. Places draw under their own keys (`Place.key`).
        """
        return {}

    def init(self, shapes: Shapes, params: Tensors, buffers: Tensors) -> dict[str, Tensor]:
        """Returns the initial state: tensors, which the host saves and restores."""
        return {}

    def batch(self, step: Step, x: Tensor, y: Tensor) -> tuple[Tensor, Tensor]:
        """Changes the batch: inputs `(B, ...)` and targets."""
        return x, y

    def sample_losses(self, step: Step, losses: Tensor, outputs: Outputs) -> Tensor:
        """Changes or weights the loss of each row, `(B,)`; the data loss is the mean of the result."""
        return losses

    def penalty(self, step: Step, weights: Tensors, outputs: Outputs) -> Tensor | None:
        """Returns a scalar to add to the loss. `weights` are effective weights; see `Step.select`."""
        return None

    def wrap_loss(self, step: Step, loss: Loss) -> Loss:
        """Returns a new loss function that calls `loss`, for several passes or another point."""
        return loss

    def perturb(self, step: Step, params: Tensors, grads: Tensors) -> Tensors | None:
        """Returns the parameters at which to evaluate the gradient instead, or `None` to keep `params`."""
        return None

    def gradients(self, step: Step, params: Tensors, grads: Tensors) -> tuple[Tensors, Tensors]:
        """Returns the gradients that the optimizer receives, and the state."""
        return grads, step.state

    def decay(self, step: Step, name: str, weight: Tensor) -> Tensor | None:
        """Returns the strength of one effective weight's decoupled decay, `w * (1 - rate * strength)`, or `None`."""
        return None

    def after_step(self, step: Step, params: Tensors) -> tuple[Tensors, Tensors]:
        """Returns new parameters after the optimizer's update, and the state."""
        return params, step.state

    def project(self, step: Step, name: str, weight: Tensor) -> Tensor:
        """Returns the nearest allowed value of one effective weight, or `weight` itself if any value is allowed."""
        return weight

    def after_epoch(self, step: Step, metrics: Tensors, params: Tensors, buffers: Tensors) -> EpochEnd:
        """Acts at the end of an epoch; `step.clock.epoch` includes it. `metrics` are scalars such as `valid/loss`."""
        return EpochEnd(params, buffers, step.state)

    def evaluated(self, step: Step, params: Tensors, buffers: Tensors) -> Member:
        """Returns the parameters and buffers to evaluate during training."""
        return params, buffers

    def finalize(
        self, step: Step, params: Tensors, buffers: Tensors, batches: Iterable[Step]
    ) -> Member | Sequence[Member]:
        """Returns the parameters and buffers that the run ends with, or those of each member of an ensemble.

        Called separately for each run. Must be idempotent.

        Args:
            step: The step after the last one, without a batch.
            params: Name -> parameter.
            buffers: Name -> buffer.
            batches: The training batches, each as a step with its own noise; can be iterated several times.
        """
        return params, buffers


class Identity(RegularizerFunctions):
    """Has no effect: the neutral element of `compose`."""


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
