"""One step of training: the phases in their order, on one run's tensors or on a stack's."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from typing import Any

import torch
from torch import Tensor

from regplug.regularizer import Clock, Noise, Settings, Step, Tensors
from regplug.training.lift import Lift
from regplug.training.optimizers import BoundRule, Rate, per_run
from regplug.training.program import Program
from regplug.training.state import State

Watch = Callable[[str, Any], None]
"""`watch(part, tensors)`: looks at what a part of a step made."""


class Stepper:
    """Moves a state by one step.

    Args:
        program: What every run computes.
        rule: The optimizer's update rule with the runs' settings.
        state: What moves; its tensors are changed in place.
        settings: Regularizer's key -> parameter -> tensor.
        lift: One run or a stack.
        is_shared: Whether the runs of a stack share their batches.
    """

    def __init__(
        self, *, program: Program, rule: BoundRule, state: State, settings: Settings, lift: Lift, is_shared: bool
    ) -> None:
        self._program, self._rule, self._state, self._settings = program, rule, state, settings
        self._regularizer = program.regularizer
        self._params = list(state.params.values())
        self.clock: Clock
        batch = None if is_shared else 0
        self._objective = lift(self._objective_of_one, (0, 0, 0, 0, batch, batch))
        acting = self._regularizer.acting
        self._perturb = lift(self._perturb_one) if acting("perturb") else None
        self._gradients = lift(self._gradients_one) if acting("gradients") else None
        self._decay = lift(self._decay_one) if acting("decay") else None
        self._after = lift(self._after_one) if acting("after_step") or acting("project") else None

    def step(
        self, x: Tensor, y: Tensor, noise: Noise, rate: Rate, active: Tensor | None, watch: Watch | None = None
    ) -> tuple[Tensor, Tensor, Tensor]:
        """One step.

        Args:
            x: Inputs.
            y: Targets.
            noise: Component -> key -> tensor.
            rate: Learning rate at this step.
            active: Which runs of a stack still train; `None` for all.
            watch: Looks at each part's result, to find where something became NaN.

        Returns:
            Objective, data loss (scalars, or one for each run) and logits, detached.
        """
        saved = None if active is None else self._state.to_dict()
        total, data, logits = self._objective(self._state.params, self._state.buffers, self._settings, noise, x, y)
        if watch:
            watch("the data loss", data)
            watch(self._named("the penalty", "penalty"), total)
        grads = _gradients_of(total, self._params)
        if watch:
            watch("the gradient", grads)
        if self._perturb is not None:
            grads = self._second(self._point(self._perturb, noise, grads), noise, x, y)
        with torch.no_grad():
            self._move(noise, grads, rate, watch)
            if saved is not None and active is not None:
                self._freeze(saved, active)
        return total.detach(), data.detach(), logits.detach()

    @torch.no_grad()
    def _point(self, perturb: Callable[..., Tensors], noise: Noise, grads: tuple[Tensor, ...]) -> Tensors:
        named = dict(zip(self._state.params, grads, strict=True))
        return perturb(self._settings, noise, self._state.params, named)

    def _second(self, point: Tensors, noise: Noise, x: Tensor, y: Tensor) -> tuple[Tensor, ...]:
        """The gradient at another point, with the same noise; running statistics have moved once already."""
        params = {name: value.detach().requires_grad_() for name, value in point.items()}
        buffers = {name: value.clone() for name, value in self._state.buffers.items()}
        total, _, _ = self._objective(params, buffers, self._settings, noise, x, y)
        return _gradients_of(total, list(params.values()))

    def _move(self, noise: Noise, grads: tuple[Tensor, ...], rate: Rate, watch: Watch | None) -> None:
        state = self._state
        if self._gradients is not None:
            named = dict(zip(state.params, grads, strict=True))
            named, state.regularizer = self._gradients(self._settings, noise, named, state.params, state.regularizer)
            grads = tuple(named[name] for name in state.params)
            if watch:
                watch(self._named("the gradient phase", "gradients"), grads)
        if self._decay is not None:
            for name, strength in self._decay(self._settings, noise, state.params).items():
                param = state.params[name]
                param.mul_(1.0 - per_run(rate * strength, param))
        self._rule.update_(self._params, grads, state.optimizer, rate, self.clock.index)
        if watch:
            watch("the optimizer's update", self._params)
        if self._after is not None:
            params, state.regularizer = self._after(self._settings, noise, state.params, state.regularizer)
            write_(state.params, params)
            if watch:
                watch(self._named("the weights phase", "after_step", "project"), self._params)

    def _freeze(self, saved: Mapping[str, Any], active: Tensor) -> None:
        """Undoes the step of runs that have stopped; times zero would keep a NaN."""
        state = self._state
        for slot, tensors in state.optimizer.items():
            for now, old in zip(tensors, saved["optimizer"][slot], strict=True):
                now.copy_(torch.where(per_run(active, now), now, old))
        for group in ("params", "buffers"):
            for name, now in getattr(state, group).items():
                now.copy_(torch.where(per_run(active, now), now, saved[group][name]))
        state.regularizer = keep_where(active, state.regularizer, saved["regularizer"])

    def _named(self, part: str, *functions: str) -> str:
        keys = [member.key for function in functions for member in self._regularizer.acting(function)]
        return f"{part} ({', '.join(keys)})" if keys else part

    # Functions of one run, which the constructor lifts.

    def _objective_of_one(
        self, params: Tensors, buffers: Tensors, settings: Settings, noise: Noise, x: Tensor, y: Tensor
    ) -> tuple[Tensor, Tensor, Tensor]:
        return self._program.objective(params, buffers, Step(settings, noise, self.clock), x, y)

    def _perturb_one(self, settings: Settings, noise: Noise, params: Tensors, grads: Tensors) -> Tensors:
        point = self._regularizer.perturb(Step(settings, noise, self.clock), params, grads)
        return params if point is None else point

    def _gradients_one(
        self, settings: Settings, noise: Noise, grads: Tensors, params: Tensors, state: Tensors
    ) -> tuple[Tensors, Tensors]:
        return self._regularizer.gradients(Step(settings, noise, self.clock), grads, params, state)

    def _decay_one(self, settings: Settings, noise: Noise, params: Tensors) -> dict[str, Tensor]:
        step = Step(settings, noise, self.clock)
        strengths = {name: self._regularizer.decay(step, name, value) for name, value in params.items()}
        return {name: strength for name, strength in strengths.items() if strength is not None}

    def _after_one(self, settings: Settings, noise: Noise, params: Tensors, state: Tensors) -> tuple[Tensors, Tensors]:
        step = Step(settings, noise, self.clock)
        params, state = self._regularizer.after_step(step, params, state)
        return (self._program.projected(step, params) if self._regularizer.acting("project") else params), state


def _gradients_of(total: Tensor, params: Sequence[Tensor]) -> tuple[Tensor, ...]:
    """Each run's gradient of its own objective: runs do not mix, so the gradient of their sum is all of them."""
    return torch.autograd.grad(total.sum() if total.ndim else total, params, materialize_grads=True)


def write_(own: Tensors, new: Tensors) -> None:
    """Copies what is new into the tensors that stay."""
    for name, value in own.items():
        if new[name] is not value:
            value.copy_(new[name])


def keep_where(active: Tensor, new: Tensors, old: Tensors) -> dict[str, Tensor]:
    """`new` for the runs that are active and `old` for the others."""
    return {
        name: torch.where(per_run(active, value), value, old[name]) if value is not old[name] else value
        for name, value in new.items()
    }
