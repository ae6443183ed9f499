"""The runtime contract of a regularizer: a handful of pure functions of one run.

Each function takes one run's tensors and returns new ones; the host calls it as it is for one run and through
`torch.func.vmap` for a stack of many. So a function reads every number that may differ between runs from
`step.settings`, draws no random number of its own, writes to no tensor that it was given, and branches on no tensor's
value. Every function has a neutral default; `regplug.regularization.composition.compose` returns a regularizer,
and `identity` changes nothing.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Mapping
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, ClassVar, Literal, NamedTuple, Protocol

from torch import Tensor

from regplug.api import NoParams, Task

if TYPE_CHECKING:
    from torch import nn

    from regplug.noise import Draw
    from regplug.sites import Place, Sites

Tensors = Mapping[str, Tensor]
Role = Literal["weight", "bias", "norm"]
Settings = Mapping[str, Any]
Noise = Mapping[str, Any]


class Outputs(NamedTuple):
    """What one forward pass returns.

    Args:
        logits: `(batch, outputs)`.
        buffers: The buffers after the pass.
        taps: Activations at the sites that somebody asked for, by key.
    """

    logits: Tensor
    buffers: Tensors
    taps: Tensors


Loss = Callable[..., tuple[Tensor, Outputs]]
"""`loss(params, number=0, x=..., y=...) -> (scalar, outputs)`: the data loss at these parameters in the forward pass
of that number, which has masks of its own; at another batch where `x` and `y` are given."""


class Clock:
    """Where a run stands; the same for all runs of a stack.

    Args:
        index: Steps done before this one.
        count: Steps of the whole run.
        epoch: Epochs done before this one.
        epochs: Epochs of the whole run.
        task: What is learned.
        roles: What each parameter is for: `weight`, `bias` or `norm`.
    """

    __slots__ = ("count", "epoch", "epochs", "index", "roles", "task")

    def __init__(
        self, *, index: int, count: int, epoch: int, epochs: int, task: Task, roles: Mapping[str, Role]
    ) -> None:
        self.index, self.count, self.epoch, self.epochs = index, count, epoch, epochs
        self.task, self.roles = task, roles


class Step:
    """What every function gets: this run's settings, already scheduled, and the noise that it asked for.

    Args:
        settings: Parameter -> tensor, 0-dimensional or one entry a site.
        noise: Key -> tensor, as declared by `noise`.
        clock: Where the run stands.
    """

    __slots__ = ("clock", "noise", "settings")

    def __init__(self, settings: Settings, noise: Noise, clock: Clock) -> None:
        self.settings, self.noise, self.clock = settings, noise, clock

    def child(self, name: str) -> Step:
        """The step as the component of that name sees it."""
        return Step(self.settings.get(name, _EMPTY), self.noise.get(name) or self._nested(name), self.clock)

    def _nested(self, name: str) -> Noise:
        """The noise of a member of a composition that is itself a member: there names are flat."""
        prefix = f"{name}/"
        return {key.removeprefix(prefix): each for key, each in self.noise.items() if key.startswith(prefix)}

    def select(self, tensors: Tensors, *, everything: bool = False) -> dict[str, Tensor]:
        """The tensors whose role is `weight`, or all: penalties skip biases and normalization unless asked."""
        roles = self.clock.roles
        return {name: t for name, t in tensors.items() if everything or roles.get(name, "weight") == "weight"}


_EMPTY: Mapping[str, Any] = {}


@dataclass(frozen=True, kw_only=True)
class Shapes:
    """What a regularizer may know when it says which noise it needs.

    Args:
        x: Shape of a batch of inputs, the batch first.
        y: Shape of a batch of targets as they reach it.
        places: Where its own layers were put, in the order of the forward pass, with shapes.
    """

    x: tuple[int, ...]
    y: tuple[int, ...]
    places: tuple[Place, ...] = ()


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
class Company:
    """What else is in the run, for `RegularizerFunctions.check`.

    Args:
        tags: Key of each *other* regularizer -> its name and tags.
        params: Key of each other regularizer -> its parameters.
        optimizer: Name of the optimizer.
        task: What is learned.
        has_validation: Whether there is a validation split.
        has_batch_norm: Whether the model, as restructured, keeps running statistics.
        batch_norm_after: Whether one of this component's own places lies before a batch normalization.
    """

    tags: Mapping[str, frozenset[str]]
    params: Mapping[str, Any]
    optimizer: str
    task: Task
    has_validation: bool
    has_batch_norm: bool
    batch_norm_after: bool = False

    def others(self, tag: str) -> list[str]:
        """Keys of the other regularizers that bear this name or tag."""
        return [key for key, tags in self.tags.items() if tag in tags]


class FinishForward(Protocol):
    """The forward pass as `finalize` gets it, in training mode, with noise of its own."""

    def __call__(self, params: Tensors, buffers: Tensors, batch: Any) -> Outputs:
        """Runs the model on one batch of `batches`."""

    def recompute_statistics(self, params: Tensors, buffers: Tensors, batches: Iterable[Any]) -> Tensors:
        """Returns the buffers with each batch norm's running statistics averaged anew over `batches`."""


class RegularizerFunctions:
    """One regularizer. Override what it needs; everything else is neutral.

    Args:
        params: An instance of the descriptor's parameter dataclass. Numbers marked `Stackable` are read from
            `step.settings` instead.
    """

    needs_soft_targets: ClassVar[bool] = False
    """Whether `batch` wants class probabilities `(batch, classes)` instead of class indices `(batch,)`."""

    passes: ClassVar[int] = 1
    """How many forward passes with noise of their own one step makes."""

    def __init__(self, params: Any = None) -> None:
        self.params: Any = NoParams() if params is None else params

    def check(self, company: Company) -> Iterator[Notice]:
        """Refuses or doubts a composition that its descriptor cannot describe."""
        yield from ()

    def restructure(self, model: nn.Module, sites: Sites) -> None:
        """Puts layers into the model, once, through `sites`."""

    def noise(self, shapes: Shapes, settings: Mapping[str, Any]) -> Mapping[str, Draw]:
        """Says which random numbers it needs at each step.

        Args:
            shapes: Shapes of a full batch and of its places.
            settings: This run's parameters as Python numbers.

        Returns:
            Key -> draw. Places draw under their own keys (`Place.key`).
        """
        return {}

    def init(self, params: Tensors, buffers: Tensors) -> dict[str, Tensor]:
        """Returns the state to start with: tensors, which the host saves and restores."""
        return {}

    def batch(self, step: Step, x: Tensor, y: Tensor) -> tuple[Tensor, Tensor]:
        """Changes the batch: inputs `(batch, ...)` and targets."""
        return x, y

    def penalty(self, step: Step, weights: Tensors, outputs: Outputs) -> Tensor | None:
        """Returns a scalar to add to the loss. `weights` are effective weights; see `Step.select`."""
        return None

    def wrap_loss(self, step: Step, loss: Loss) -> Loss:
        """Returns a loss around `loss`, for more passes or another point."""
        return loss

    def perturb(self, step: Step, params: Tensors, grads: Tensors) -> Tensors | None:
        """Returns the point at which to take the gradient instead; `None` keeps the one there is."""
        return None

    def gradients(self, step: Step, grads: Tensors, params: Tensors, state: Tensors) -> tuple[Tensors, Tensors]:
        """Changes the gradients before the optimizer sees them."""
        return grads, state

    def decay(self, step: Step, name: str, weight: Tensor) -> Tensor | None:
        """Returns the decoupled decay of one parameter: `weight * (1 - rate * strength)`; `None` is none."""
        return None

    def after_step(self, step: Step, params: Tensors, state: Tensors) -> tuple[Tensors, Tensors]:
        """Changes the parameters after the optimizer's update."""
        return params, state

    def project(self, step: Step, name: str, weight: Tensor) -> Tensor:
        """Returns the nearest allowed value of one effective weight."""
        return weight

    def after_epoch(self, step: Step, metrics: Tensors, params: Tensors, buffers: Tensors, state: Tensors) -> EpochEnd:
        """Acts at the end of an epoch, which `step.clock.epoch` counts; `metrics` are scalars such as `valid/loss`."""
        return EpochEnd(params, buffers, state)

    def evaluated(self, params: Tensors, buffers: Tensors, state: Tensors) -> tuple[Tensors, Tensors]:
        """Returns the parameters and buffers to evaluate in the middle of training."""
        return params, buffers

    def finalize(
        self, forward: FinishForward, params: Tensors, buffers: Tensors, state: Tensors, batches: Iterable[Any]
    ) -> tuple[Tensors, Tensors]:
        """Returns the parameters and buffers that the run ends with. Called for each run alone, and idempotent."""
        return params, buffers


class Identity(RegularizerFunctions):
    """Changes nothing: the neutral element of `compose`."""


identity = Identity()
