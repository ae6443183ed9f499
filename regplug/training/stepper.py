"""One step of training: the phases in their order, on one run's tensors or on a stack's."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from typing import Any

import torch
from torch import Tensor

from regplug.regularizer import Batch, Clock, Noise, Outputs, Settings, Step, Tensors
from regplug.training.lift import Lift
from regplug.training.optimizers import BoundRule, Rate, per_run
from regplug.training.passes import RunPasses
from regplug.training.program import Program
from regplug.training.settings import RunSettings
from regplug.training.state import State
from regplug.training.tensors import held_apart

Watch = Callable[[str, Any], None]
"""`watch(part, tensors)`: checks the tensors that one part of a step computed."""


class Stepper:
    """Moves a state by one step.

    Args:
        program: What every run computes.
        rule: The optimizer's update rule with the runs' settings.
        state: What moves; its tensors are changed in place.
        settings: The settings at each step.
        lift: One run or a stack.
        is_shared: Whether the runs of a stack share their batches.
    """

    def __init__(
        self, *, program: Program, rule: BoundRule, state: State, settings: RunSettings, lift: Lift, is_shared: bool
    ) -> None:
        self._program, self._rule, self._state, self._settings_of = program, rule, state, settings
        self._regularizer = program.regularizer
        self._params = list(state.params.values())
        self._decayed_whole = frozenset(each.name for each in program.effective)
        self.clock: Clock
        batch = None if is_shared else 0
        # The output of the data phase belongs to each run, even if the batch is shared.
        made = 0 if program.mixes else batch
        self._objective = lift(self._objective_of_one, (0, 0, 0, 0, 0, batch))
        dims = (0, 0, 0, 0, 0, 0, 0, made, batch)
        acting = self._regularizer.acting
        self._perturb = lift(self._perturb_one, dims) if acting("perturb") else None
        self._gradients = lift(self._gradients_one, dims) if acting("gradients") else None
        self._decay = lift(self._decay_one, dims) if acting("decay") else None
        self._shrink = lift(self._shrunk_one) if self._decay and program.effective else None
        self._after = lift(self._after_one, dims) if acting("after_step") or acting("project") else None
        self._is_bare = not any((self._perturb, self._gradients, self._decay, self._after))

    def step(
        self, given: Tensors, noise: Noise, rate: Rate, active: Tensor | None, watch: Watch | None = None
    ) -> tuple[Tensor, Tensor, Tensor]:
        """One step.

        Args:
            given: The batch, of each run or shared: `x`, `y`, and `rows`, the rows' numbers.
            noise: Component -> key -> tensor.
            rate: Learning rate at this step.
            active: Which runs of a stack still train; `None` for all.
            watch: Looks at each part's result, to find where something became NaN.

        Returns:
            Objective, data loss (scalars, or one for each run) and logits, detached.
        """
        saved = None if active is None else self._state.to_dict()
        state, settings = self._state, self._settings_of.at(self.clock.index)
        made = self._objective(state.params, state.buffers, settings, noise, state.regularizer, given)
        if watch:
            watch("the data loss", made["loss"])
            watch(self._named("the penalty", "penalty"), made["total"])
        grads = _gradients_of(made["total"], self._params)
        if watch:
            watch("the gradient", grads)
        told = None if self._is_bare else _Told(settings, noise, made, given, rate)
        if told is not None and self._perturb is not None:
            grads = self._second(self._point(told, grads), told, given)
        with torch.no_grad():
            if told is None:
                self._rule.update_(self._params, grads, state.optimizer, rate, self.clock.index)
                self._watch_update(watch)
            else:
                self._move(told, grads, rate, watch)
            if saved is not None and active is not None:
                self._freeze(saved, active)
        return made["total"].detach(), made["loss"].detach(), made["logits"].detach()

    def _later(self, function: Callable[..., Any], told: _Told, first: Tensors, grads: Tensors | None) -> Any:
        """Calls a lifted function of a phase after the objective."""
        state = self._state
        own = {} if grads is None else grads
        return function(
            first, own, state.buffers, told.settings, told.noise, state.regularizer, told.logits, told.made, told.given
        )

    @torch.no_grad()
    def _point(self, told: _Told, grads: tuple[Tensor, ...]) -> Tensors:
        named = dict(zip(self._state.params, grads, strict=True))
        return self._later(self._perturb, told, self._state.params, named)  # type: ignore[arg-type, no-any-return]

    def _second(self, point: Tensors, told: _Told, given: Tensors) -> tuple[Tensor, ...]:
        """Returns the gradient at another point, with the same noise; running statistics were already updated."""
        # In the order of the run's own parameters: the optimizer takes gradients by position.
        params = {name: point[name].detach().requires_grad_() for name in self._state.params}
        buffers = {name: value.clone() for name, value in self._state.buffers.items()}
        made = self._objective(params, buffers, told.settings, told.noise, self._state.regularizer, given)
        return _gradients_of(made["total"], list(params.values()))

    def _move(self, told: _Told, grads: tuple[Tensor, ...], rate: Rate, watch: Watch | None) -> None:
        state = self._state
        if self._gradients is not None:
            named = dict(zip(state.params, grads, strict=True))
            named, kept = self._later(self._gradients, told, state.params, named)
            state.regularizer = held_apart(kept, state.params, state.buffers)
            grads = tuple(named[name] for name in state.params)
            if watch:
                watch(self._named("the gradient phase", "gradients"), grads)
        if self._decay is not None:
            self._apply_decay(self._later(self._decay, told, state.params, None), told.settings, rate)
        self._rule.update_(self._params, grads, state.optimizer, rate, self.clock.index)
        self._watch_update(watch)
        if self._after is not None:
            params, kept = self._later(self._after, told, state.params, None)
            state.regularizer = held_apart(kept, state.params, state.buffers)
            write_(state.params, params)
            if watch:
                watch(self._named("the weights phase", "after_step", "project"), self._params)

    def _watch_update(self, watch: Watch | None) -> None:
        if watch:
            watch("the optimizer's update", self._params)

    def _apply_decay(self, strengths: Tensors, settings: Settings, rate: Rate) -> None:
        state = self._state
        whole: dict[str, Tensor] = {}
        for name, strength in strengths.items():
            if name in self._decayed_whole:
                whole[name] = 1.0 - rate * strength
            else:
                param = state.params[name]
                param.mul_(1.0 - per_run(rate * strength, param))
        if whole and self._shrink is not None:
            write_(state.params, {**state.params, **self._shrink(state.params, state.buffers, settings, whole)})

    def _freeze(self, saved: Mapping[str, Any], active: Tensor) -> None:
        """Undoes the step of runs that have stopped. Multiplying by zero would keep a NaN."""
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
        self, params: Tensors, buffers: Tensors, settings: Settings, noise: Noise, state: Tensors, given: Tensors
    ) -> dict[str, Tensor]:
        batch = Batch(given["x"], given["y"], given["y"], given["rows"])
        step = Step(settings, noise, self.clock, state=state, batch=batch)
        made, outputs = self._program.objective(params, buffers, step)
        made["logits"] = outputs.logits
        if not self._is_bare:
            made |= {f"{_TAP}{key}": tap for key, tap in outputs.taps.items()}
        return made

    def _step_of(
        self,
        params: Tensors,
        buffers: Tensors,
        settings: Settings,
        noise: Noise,
        state: Tensors,
        logits: Tensors,
        made: Tensors,
        given: Tensors,
    ) -> Step:
        """Returns the step for a phase after the objective."""
        batch = Batch(made["x"], made["y"], given["y"], given["rows"])
        taps = {name.removeprefix(_TAP): tap for name, tap in logits.items() if name.startswith(_TAP)}
        outputs = Outputs(logits["logits"], buffers, taps)
        step = Step(settings, noise, self.clock, state=state, batch=batch, outputs=outputs)
        step.set_rate(logits[_RATE])
        step.attach(RunPasses(self._program, params, buffers))
        return step

    def _perturb_one(self, params: Tensors, grads: Tensors, *rest: Any) -> Tensors:
        point = self._regularizer.perturb(self._step_of(params, *rest), params, grads)
        return params if point is None else point

    def _gradients_one(self, params: Tensors, grads: Tensors, *rest: Any) -> tuple[Tensors, Tensors]:
        return self._regularizer.gradients(self._step_of(params, *rest), params, grads)

    def _decay_one(self, params: Tensors, grads: Tensors, buffers: Tensors, *rest: Any) -> dict[str, Tensor]:
        return self._program.decays(self._step_of(params, buffers, *rest), params, buffers)

    def _shrunk_one(self, params: Tensors, buffers: Tensors, settings: Settings, factors: Tensors) -> dict[str, Tensor]:
        step = Step(settings, {}, self.clock)
        originals: dict[str, Tensor] = {}
        for each in self._program.effective:
            if each.name in factors:
                factor = factors[each.name]
                shrunk = each.inverse(each.value(params, buffers, step) * factor)
                # There and back is not exact, and a decay of 0 must change no bit.
                originals |= {n: torch.where((factor == 1).all(), params[n], value) for n, value in shrunk.items()}
        return originals

    def _after_one(self, params: Tensors, grads: Tensors, buffers: Tensors, *rest: Any) -> tuple[Tensors, Tensors]:
        step = self._step_of(params, buffers, *rest)
        params, state = self._regularizer.after_step(step, params)
        if self._regularizer.acting("project"):
            params = self._program.projected(step.replaced(state=state), params, buffers)
        return params, state


_TAP, _RATE = "tap:", "rate"


class _Told:
    """What the phases after the objective receive from it, without a graph."""

    __slots__ = ("given", "logits", "made", "noise", "settings")

    def __init__(self, settings: Settings, noise: Noise, objective: Tensors, given: Tensors, rate: Rate) -> None:
        self.settings, self.noise, self.given = settings, noise, given
        self.logits = {
            name: value.detach() for name, value in objective.items() if name == "logits" or name.startswith(_TAP)
        }
        total = objective["total"].detach()
        self.logits[_RATE] = torch.as_tensor(rate, dtype=total.dtype, device=total.device).expand_as(total)
        has_own = "x" in objective
        self.made = {name: objective[name].detach() if has_own else given[name] for name in ("x", "y")}


def _gradients_of(total: Tensor, params: Sequence[Tensor]) -> tuple[Tensor, ...]:
    """Returns each run's gradient of its own objective: runs are independent, so the sum's gradient has them all."""
    return torch.autograd.grad(total.sum() if total.ndim else total, params, materialize_grads=True)


def write_(own: Tensors, new: Tensors) -> None:
    """Copies new values into existing tensors, in place."""
    for name, value in own.items():
        if new[name] is not value:
            value.copy_(new[name])


def keep_where(active: Tensor, new: Tensors, old: Tensors) -> dict[str, Tensor]:
    """Returns `new` for the active runs and `old` for the others."""
    return {
        name: torch.where(per_run(active, value), value, old[name]) if value is not old[name] else value
        for name, value in new.items()
    }
