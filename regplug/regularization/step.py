"""The step: the argument of every function of a regularizer.

Shape letters: B rows of the batch, K outputs.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping
from typing import Any, Literal, NamedTuple, Protocol

from torch import Tensor

from regplug.api import Task
from regplug.errors import PluginError

Tensors = Mapping[str, Tensor]
Role = Literal["weight", "bias", "norm", "auxiliary"]
"""What a parameter is for: weight, bias, of a normalization or an activation, or brought by a regularizer."""
Settings = Mapping[str, Any]
Noise = Mapping[str, Any]
_EMPTY: Mapping[str, Any] = {}


class Outputs(NamedTuple):
    """What one forward pass returns.

    Args:
        logits: Logits or values `(B, K)`.
        buffers: The buffers after the pass.
        taps: Activations at the sites where a `Tap` stands, by `owner/place`.
    """

    logits: Tensor
    buffers: Tensors
    taps: Tensors


class Batch(NamedTuple):
    """The rows of one step.

    Args:
        x: Current inputs `(B, ...)`: normalised, and changed by the data phase once that is over.
        y: Current targets: classes `(B,)` or values `(B, K)`; class probabilities `(B, K)` after a component
            that asks for soft targets.
        labels: Original targets: classes `(B,)` or values `(B, K)`.
        rows: The rows' numbers in the training split, int64 `(B,)`, from 0 to `Shapes.rows - 1`.
    """

    x: Tensor
    y: Tensor
    labels: Tensor
    rows: Tensor


class Clock:
    """The progress of a run; the same for all runs of a stack.

    Args:
        index: Steps done before this one.
        count: Steps of the whole run.
        epoch: Epochs done before this one.
        epochs: Epochs of the whole run.
        task: What is learned.
        roles: What each parameter is for.
    """

    __slots__ = ("count", "epoch", "epochs", "index", "roles", "task")

    def __init__(
        self, *, index: int, count: int, epoch: int, epochs: int, task: Task, roles: Mapping[str, Role]
    ) -> None:
        self.index, self.count, self.epoch, self.epochs = index, count, epoch, epochs
        self.task, self.roles = task, roles


class Passes(Protocol):
    """Further passes of one run's model, for `Step`. The host provides them."""

    def run(
        self,
        step: Step,
        *,
        x: Tensor,
        params: Tensors | None,
        buffers: Tensors | None,
        number: int,
        training: bool,
    ) -> Outputs:
        """See `Step.run`."""

    def gradient(self, function: Callable[[Tensor], Any], x: Tensor, *, has_aux: bool) -> Any:
        """See `Step.gradient`."""

    def weights(self, step: Step, params: Tensors, buffers: Tensors | None) -> Tensors:
        """See `Step.weights`."""

    def recompute_statistics(
        self, step: Step, params: Tensors, buffers: Tensors, batches: Iterable[Step] | None
    ) -> Tensors:
        """See `Step.recompute_statistics`."""


class Step:
    """The argument of every function. Read only: every effect is a returned value.

    Args:
        settings: Parameter -> tensor, 0-dimensional or with one entry per place, at this step's value of its schedule.
        noise: Key -> tensor, as declared by `noise`.
        clock: The progress of the run.
        state: The component's own state, as `init` and the last function that changed it returned it.
        batch: The rows of this step; `None` outside of a step.
        outputs: What the outermost forward pass of this step returned, without a graph: from the gradient phase on.
        passes: The model; `None` where it cannot be run.
    """

    __slots__ = ("_passes", "_prefix", "_rate", "_root", "_state", "batch", "clock", "noise", "outputs", "settings")

    def __init__(
        self,
        settings: Settings,
        noise: Noise,
        clock: Clock,
        *,
        state: Tensors | None = None,
        batch: Batch | None = None,
        outputs: Outputs | None = None,
        passes: Passes | None = None,
    ) -> None:
        self.settings, self.noise, self.clock = settings, noise, clock
        self.batch, self.outputs = batch, outputs
        self._rate: Tensor | None = None
        self._state, self._passes, self._prefix = _EMPTY if state is None else state, passes, ""
        # None, not the step itself: a cycle would keep its batch until the garbage collector runs.
        self._root: Step | None = None

    @property
    def state(self) -> Tensors:
        """The component's own state: name -> tensor."""
        if not self._prefix or not self._state:
            return self._state
        prefix = self._prefix
        return {name.removeprefix(prefix): value for name, value in self._state.items() if name.startswith(prefix)}

    @property
    def rate(self) -> Tensor:
        """The learning rate of this step, a scalar; from the gradient phase on."""
        if self._rate is None:
            raise PluginError(
                f"{self.owner} reads the learning rate in a phase that has none.",
                hint="Act in gradients, after_step or project, which are called at each step after the gradient.",
            )
        return self._rate

    @property
    def owner(self) -> str:
        """The key of the component whose step this is; empty for the composition's."""
        return self._prefix.rstrip("/")

    @property
    def root(self) -> Step:
        """The step of the whole composition, whose layers act in a pass."""
        return self if self._root is None else self._root

    def child(self, name: str) -> Step:
        """The step as the component of that name sees it."""
        noise = self.noise and (self.noise.get(name) or self._nested(name))
        own = Step(self.settings.get(name, _EMPTY), noise, self.clock)
        own.batch, own.outputs, own._state = self.batch, self.outputs, self._state
        own._passes, own._root, own._prefix = self._passes, self.root, f"{self._prefix}{name}/"
        own._rate = self._rate
        return own

    def require_batch(self) -> Batch:
        """The batch, in a phase that has one."""
        if self.batch is None:
            raise PluginError(
                f"{self.owner} reads the batch in a phase that has none.",
                hint="Give step.run its x, or act in a function that is called at each step.",
            )
        return self.batch

    def attach(self, passes: Passes) -> None:
        """Sets the model that the step runs; called by the host."""
        self._passes = passes

    def set_rate(self, rate: Tensor) -> None:
        """Sets the learning rate; called by the host."""
        self._rate = rate

    def replaced(self, *, batch: Batch | None = None, state: Tensors | None = None) -> Step:
        """Returns the same step with another batch or state; the host calls it between phases."""
        other = Step(self.settings, self.noise, self.clock)
        other.batch = self.batch if batch is None else batch
        other._state = self._state if state is None else state
        other.outputs, other._passes, other._prefix = self.outputs, self._passes, self._prefix
        other._rate, other._root = self._rate, self._root
        return other

    def _nested(self, name: str) -> Noise:
        """The noise of a member of a composition that is itself a member: there names are flat."""
        prefix = f"{name}/"
        return {key.removeprefix(prefix): each for key, each in self.noise.items() if key.startswith(prefix)}

    def select(self, tensors: Tensors, *, everything: bool = False) -> dict[str, Tensor]:
        """Selects the tensors whose role is `weight`, or all: penalties skip biases and normalization unless asked."""
        roles = self.clock.roles
        return {name: t for name, t in tensors.items() if everything or roles.get(name, "weight") == "weight"}

    def run(
        self,
        *,
        x: Tensor | None = None,
        params: Tensors | None = None,
        buffers: Tensors | None = None,
        number: int = 0,
        training: bool = True,
    ) -> Outputs:
        """Runs the model once more. The pass returns its buffers and writes none.

        So it may stand inside `gradient`, and its batch statistics do not count: only the outermost pass of a step
        updates the run's buffers.

        Args:
            x: Inputs `(B, ...)`; by default the current inputs of the batch.
            params: Name -> parameter; by default those of this phase.
            buffers: Name -> buffer; by default the run's.
            number: The pass in training whose noise it takes, below the class's `passes`.
            training: Whether it runs in training mode, with noise and batch statistics, or in evaluation mode.
        """
        x = self.require_batch().x if x is None else x
        return self._model().run(self, x=x, params=params, buffers=buffers, number=number, training=training)

    def gradient(self, function: Callable[[Tensor], Any], x: Tensor, *, has_aux: bool = False) -> Any:
        """Returns the gradient of a scalar function at `x`; it may be differentiated again.

        Inside, `run` works with batch normalization too. Attention runs with torch's mathematical kernel, because the
        fused ones have no second derivative.

        Args:
            function: `x -> scalar`; with `has_aux` it returns `(scalar, more)`.
            x: Where to take the gradient, any floating shape.
            has_aux: Whether the function returns more than its value.

        Returns:
            A tensor of the shape of `x`; with `has_aux` a pair of it and `more`.
        """
        return self._model().gradient(function, x, has_aux=has_aux)

    def weights(self, params: Tensors, buffers: Tensors | None = None) -> Tensors:
        """Returns the effective weights at these parameters, as in evaluation: what parametrized layers compute with.

        Args:
            params: Name -> parameter.
            buffers: Name -> buffer; by default the run's. None is written.
        """
        return self._model().weights(self, params, buffers)

    def recompute_statistics(self, params: Tensors, buffers: Tensors, batches: Iterable[Step] | None = None) -> Tensors:
        """Returns the buffers with each batch norm's running statistics recomputed at these parameters.

        Args:
            params: Name -> parameter.
            buffers: Name -> buffer; none is written.
            batches: In `finalize`, the batches to average over. By default, in `evaluated`, a fixed part of the
                training rows.

        Source: torch.optim.swa_utils.update_bn.
        """
        return self._model().recompute_statistics(self, params, buffers, batches)

    def _model(self) -> Passes:
        if self._passes is None:
            raise PluginError(
                f"{self.owner} runs the model where no model can be run.",
                hint="A layer only changes its input; the regularizer's functions can run the model.",
            )
        return self._passes
