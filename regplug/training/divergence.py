"""Where a run became NaN or infinite: its epoch is repeated, and each part of each step is checked."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping
from typing import Any

import torch
from torch import Tensor

from regplug.api import TaskKind
from regplug.errors import DivergedError
from regplug.regularizer import Clock, Tensors
from regplug.training.lift import Lift
from regplug.training.stepper import Watch

_LOWER = "Lower --lr, choose a smaller initialisation (--init default), or add --reg clip_norm."
_HINTS: Mapping[TaskKind, str] = {
    "classification": _LOWER,
    "regression": f"{_LOWER} Targets much larger than 1 make large gradients: scale them, or use --optimizer adam.",
}


def finite_runs(totals: Tensor, params: Tensors, lift: Lift) -> Tensor:
    """Returns whether each run's objectives and parameters are finite: a scalar, or `(runs,)` of a stack.

    Args:
        totals: The objective at each step, `(steps,)` or `(steps, runs)`.
        params: Name -> parameter.
        lift: One run or a stack.
    """
    finite = torch.isfinite(totals).all(0)
    for param in params.values():
        finite = finite & torch.isfinite(param).reshape(*param.shape[: lift.lead], -1).all(-1)
    return finite


def watch_for(run: int, lift: Lift, clock: Callable[[], Clock]) -> Watch:
    """Returns a function for `Stepper.step` that raises as soon as a part of a step is not finite.

    Args:
        run: Which run of the stack is checked.
        lift: One run or a stack.
        clock: Returns the clock of the current step.
    """

    def watch(part: str, tensors: Any) -> None:
        for tensor in tensors if isinstance(tensors, (tuple, list)) else (tensors,):
            value = tensor if lift.runs is None else tensor[run]
            if not torch.isfinite(value).all():
                now = clock()
                raise _FoundError(f"{part} was NaN or infinite at step {now.index + 1} (epoch {now.epoch + 1})")

    return watch


def first_found(steps: Iterable[Any], epoch: int) -> str:
    """Takes the steps of an epoch, which `watch_for` checks, and returns where the run diverged.

    Args:
        steps: The steps.
        epoch: Epochs done before.
    """
    try:
        for _ in steps:
            pass
    except _FoundError as found:
        return str(found)
    return f"some weight was NaN or infinite after epoch {epoch + 1}"


def diverged_error(where: str, kind: TaskKind) -> DivergedError:
    """Returns the error for a run that diverged, with what to try next."""
    return DivergedError(f"The run diverged: {where}.", hint=_HINTS[kind])


class _FoundError(Exception):
    """Where the run became NaN or infinite; never leaves this module."""
