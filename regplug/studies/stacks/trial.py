"""One short training of a few steps, to time a stack size by."""

from __future__ import annotations

import dataclasses
from collections.abc import Iterator
from contextlib import contextmanager

from regplug.errors import DivergedError
from regplug.registry.faults import is_fault
from regplug.runs.assembly import threads
from regplug.studies.stacks.stack_size import TRIAL_EPOCHS, TRIAL_STEPS
from regplug.training.course import Course
from regplug.training.loop import Trainer


class Trial:
    """A short training that can be called again and again; each call is one epoch of a few steps."""

    def __init__(self, trainer: Trainer, num_threads: int, size: int) -> None:
        self._trainer, self.threads, self._size = trainer, num_threads, size

    def __call__(self) -> bool:
        """Trains for an epoch; returns False where the run has diverged."""
        # A regularizer may stop a run early, whose steps are to be timed all the same.
        self._trainer.state.stopped = [None] * self._size
        try:
            with lifting(self._size), threads(self.threads):
                return next(self._trainer.train(), None) is not None
        except DivergedError:
            return False


@contextmanager
def lifting(size: int) -> Iterator[None]:
    """Turns whatever a trial raises into `CannotLiftError`."""
    try:
        yield
    except DivergedError:
        raise
    except BaseException as error:  # whatever a model or regularizer of somebody's own raises
        if not is_fault(error):
            raise
        said = (str(error).strip() or type(error).__name__).splitlines()[0]
        raise CannotLiftError(f"the trial of {size} run{'s' * (size > 1)} failed: {said}") from error


class CannotLiftError(Exception):
    """A model or regularizer fails under vmap; the runs of a group are then trained one by one."""


def short_course(course: Course) -> Course:
    """Epochs of a few steps without evaluation, for a trial."""
    never = 1 << 30
    return dataclasses.replace(
        course,
        epochs=TRIAL_EPOCHS,
        factors=[1.0] * TRIAL_EPOCHS * TRIAL_STEPS,
        evaluate_every=never,
        evaluate_train_every=never,
    )
