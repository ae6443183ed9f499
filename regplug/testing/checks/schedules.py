"""Schedules of the learning rate: a factor that depends only on the step, without torch."""

from __future__ import annotations

import math
import sys

from regplug.api import ScheduleStep
from regplug.testing.checking import NotApplicable, attempting, expect
from regplug.testing.checks.common import heavy_imports
from regplug.testing.generators import generators_untouched
from regplug.testing.subject import Subject

RUNS = ((1, 1), (2, 1), (3, 3), (7, 3), (30, 5), (400, 20))
"""Steps, and steps of an epoch."""


def _factors(subject: Subject, count: int, per_epoch: int, *, backwards: bool = False) -> list[float]:
    target, params, order = subject.target, subject.params(), range(count)
    found = {}
    for index in reversed(order) if backwards else order:
        with attempting(f"the factor at step {index} of {count}, {per_epoch} an epoch"):
            found[index] = target(params, ScheduleStep(index, count, per_epoch))
    return [found[index] for index in order]


def factor_is_a_number(subject: Subject) -> None:
    """A factor that is negative, infinite, NaN or not a number, in runs of one or many steps."""
    for count, per_epoch in RUNS:
        for index, factor in enumerate(_factors(subject, count, per_epoch)):
            good = isinstance(factor, int | float) and math.isfinite(factor) and factor >= 0
            expect(good, f"the factor at step {index} of {count} is {factor!r}")


def step_decides_the_factor(subject: Subject) -> None:
    """A schedule with internal state: a resumed run would have other learning rates."""
    for count, per_epoch in RUNS:
        with generators_untouched("the factors"):
            forwards = _factors(subject, count, per_epoch)
            backwards = _factors(subject, count, per_epoch, backwards=True)
        expect(forwards == backwards, "called in another order, it returns other factors")


def something_is_learned(subject: Subject) -> None:
    """A schedule that is 0 throughout: nothing would move."""
    for count, per_epoch in RUNS:
        expect(max(_factors(subject, count, per_epoch)) > 0, f"every factor of {count} steps is 0")


def factor_needs_nothing_heavy(subject: Subject) -> None:
    """A target whose module imports torch: plans also use schedules, without training."""
    if subject.registered.is_user_code or subject.registered.given is not None:
        raise NotApplicable("it is your own code, named by its path")
    module = subject.component.target.partition(":")[0]
    heavy = heavy_imports(module, (*sys.path, subject.registered.location))
    expect(heavy == "[]", f"importing {module} pulls in {heavy}")


CHECKS = (factor_is_a_number, step_decides_the_factor, something_is_learned, factor_needs_nothing_heavy)
