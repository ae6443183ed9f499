"""The factor on the learning rate at one step. With s = step.index of S = step.count steps; no torch."""

from __future__ import annotations

import math

from regplug.api import NoParams, ScheduleStep
from regplug_schedules import ExponentialParams, FinalParams, OneCycleParams, StepParams

_START, _END = 1 / 25, 1 / 25 / 1e4
"""Where one cycle starts and ends, as torch's OneCycleLR by default."""


def constant(params: NoParams, step: ScheduleStep) -> float:  # noqa: ARG001 - as every schedule is called
    """1."""
    return 1.0


def cosine(params: FinalParams, step: ScheduleStep) -> float:
    """`final + (1 - final) * (1 + cos(pi * s / S)) / 2`. Source: Loshchilov and Hutter 2017."""
    return _along_cosine(1.0, params.final, step.index / step.count)


def linear(params: FinalParams, step: ScheduleStep) -> float:
    """`1 + (final - 1) * s / S`."""
    return 1.0 + (params.final - 1.0) * step.index / step.count


def step_down(params: StepParams, step: ScheduleStep) -> float:
    """`factor` to the power of the cuts that were made, one every `every` epochs."""
    return float(params.factor ** (step.epoch // params.every))


def exponential(params: ExponentialParams, step: ScheduleStep) -> float:
    """`factor` to the power of the epochs that are done."""
    return float(params.factor**step.epoch)


def one_cycle(params: OneCycleParams, step: ScheduleStep) -> float:
    """From 1/25 along half a cosine to 1, and along another to 1/250000.

    As torch's OneCycleLR over S + 1 steps, of which the last is not made. Source: Smith and Topin 2018.
    """
    top = params.up * (step.count + 1) - 1
    if step.index < top:
        return _along_cosine(_START, 1.0, step.index / top)
    return _along_cosine(1.0, _END, (step.index - top) / (step.count - top))


def _along_cosine(start: float, end: float, share: float) -> float:
    return end + (start - end) * (1.0 + math.cos(math.pi * share)) / 2.0
