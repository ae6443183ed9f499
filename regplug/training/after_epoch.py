"""The end of an epoch: regularizers see its metrics, and may change weights, lower the rate or stop a run."""

from __future__ import annotations

from typing import Any

import torch
from torch import Tensor

from regplug.regularizer import Clock, Step, Tensors
from regplug.training.lift import Lift
from regplug.training.passes import RunPasses
from regplug.training.program import Program
from regplug.training.settings import RunSettings
from regplug.training.state import State
from regplug.training.stepper import keep_where, write_
from regplug.training.tensors import held_apart


class AfterEpoch:
    """Applies each regularizer's `after_epoch` to a state.

    Args:
        program: What every run computes.
        settings: The settings at each step.
        lift: One run or a stack.
        state: The state; changed in place.
    """

    def __init__(self, program: Program, settings: RunSettings, lift: Lift, state: State) -> None:
        self._program, self._settings, self._lift, self._state = program, settings, lift, state
        self._lifted = lift(self._of_one, (0, 0, 0, 0, 0))
        self._clock: Clock

    @torch.no_grad()
    def __call__(self, clock: Clock, metrics: Tensors, active: Tensor | None) -> None:
        """Applies them.

        Args:
            clock: The clock after the epoch's last step.
            metrics: What was measured in this epoch.
            active: Which runs of a stack still train; `None` for all.
        """
        state, self._clock = self._state, clock
        settings = self._settings.at(clock.index - 1)
        end = self._lifted(settings, metrics, state.params, state.buffers, state.regularizer)
        end["state"] = held_apart(end["state"], state.params, state.buffers)
        if active is not None:
            for name in ("params", "buffers", "state"):
                old = state.regularizer if name == "state" else getattr(state, name)
                end[name] = keep_where(active, end[name], old)
        write_(state.params, end["params"])
        write_(state.buffers, end["buffers"])
        state.regularizer = end["state"]
        if "rate_scale" in end:
            scale = state.rate_scale * end["rate_scale"]
            state.rate_scale = float(scale) if self._lift.runs is None else scale
        if "stop" in end:
            for run, stops in enumerate(self._lift.numbers(end["stop"])):
                if stops and state.stopped[run] is None:
                    state.stopped[run] = state.epoch

    def _of_one(
        self, settings: Any, metrics: Tensors, params: Tensors, buffers: Tensors, state: Tensors
    ) -> dict[str, Any]:
        passes = RunPasses(self._program, params, buffers)
        step = Step(settings, {}, self._clock, state=state, passes=passes)
        end = self._program.regularizer.after_epoch(step, metrics, params, buffers)
        named = {"params": end.params, "buffers": end.buffers, "state": end.state}
        optional = {"stop": end.stop, "rate_scale": end.rate_scale}
        return named | {name: value for name, value in optional.items() if value is not None}
