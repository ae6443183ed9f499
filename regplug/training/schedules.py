"""The factors on the learning rate over a run: a warm-up, then a schedule."""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from typing import Any, overload

from regplug.api import ScheduleStep
from regplug.errors import PluginError

BLOCK = 1024
"""Steps whose factors are computed at once: a run may have more steps than a list should."""


class Factors(Sequence[float]):
    """The factor on the learning rate at each step of a run.

    Args:
        factor: The schedule: its factor at a step.
        name: What messages call it.
        epochs: Epochs of the run.
        steps_per_epoch: Steps in each.
        warmup: Epochs in which the rate first rises linearly from 0, exclusive; the schedule takes what is left.
    """

    def __init__(
        self, factor: Callable[[ScheduleStep], Any], *, name: str, epochs: int, steps_per_epoch: int, warmup: int = 0
    ) -> None:
        self._factor, self._name, self._steps_per_epoch = factor, name, steps_per_epoch
        self._count, self._rising = epochs * steps_per_epoch, min(warmup, epochs) * steps_per_epoch
        self._number, self._block = -1, [0.0]

    def __len__(self) -> int:
        return self._count

    @overload
    def __getitem__(self, index: int) -> float: ...

    @overload
    def __getitem__(self, index: slice) -> list[float]: ...

    def __getitem__(self, index: int | slice) -> float | list[float]:
        if isinstance(index, slice):
            return [self[at] for at in range(*index.indices(self._count))]
        if not 0 <= index < self._count:
            raise IndexError(index)
        if index // BLOCK != self._number:
            start = index // BLOCK * BLOCK
            self._block = self._computed(start, min(start + BLOCK, self._count))
            self._number = index // BLOCK
        return self._block[index % BLOCK]

    def _computed(self, start: int, stop: int) -> list[float]:
        rising, left = self._rising, self._count - self._rising
        rise = [(step + 1) / (rising + 1) for step in range(start, min(stop, rising))]
        first, found = max(0, start - rising), list[float]()
        try:
            for index in range(first, stop - rising):
                found.append(self._factor(ScheduleStep(index, left, self._steps_per_epoch)))
        except Exception as error:  # whatever a schedule of somebody else's raises
            raise self._fault(f"raised {type(error).__name__}: {error}", first + len(found)) from error
        for index, factor in enumerate(found):
            if not isinstance(factor, int | float) or not 0 <= factor < math.inf:
                raise self._fault(f"gave {factor!r}", first + index)
        return rise + found

    def _fault(self, said: str, index: int) -> PluginError:
        return PluginError(
            f"The schedule {self._name} {said}, at step {index} of {self._count - self._rising}.",
            hint="It must give a finite factor on the learning rate, 0 or more.",
        )
