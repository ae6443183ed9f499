"""What probes cost: an epoch of run-mlp, and the same with gradients and dead units measured at its end."""

from __future__ import annotations

import dataclasses
from collections.abc import Callable
from typing import Any

from benchmarks.measure import Case, Claim, take_turns
from benchmarks.ours import assembled, data_of
from benchmarks.report import Report
from benchmarks.run_mlp import config_with
from regplug.data import Prepared
from regplug.runs.trained import probing_of, trainer_of

ALWAYS = ("gradients", "dead_units")
"""Cheap enough to measure after each epoch."""

OTHERS = ("update_ratio", "weight_statistics", "activation_statistics", "effective_rank", "gradient_noise_scale")


def epoch_with(data: Prepared, *probes: str) -> Callable[[], Callable[[], Any]]:
    """Prepares the first of several epochs, and the measurement after it."""

    def prepare() -> Callable[[], Any]:
        made = assembled(config_with().replaced(probe=probes), data)
        longer = dataclasses.replace(made.course, epochs=2, factors=[1.0] * (2 * len(made.course.factors)))
        made = dataclasses.replace(made, course=longer)
        trainer, probing = trainer_of(made, probed=bool(probes)), probing_of(made)
        return lambda: (next(trainer.train()), probing.measure(trainer))

    return prepare


def bench(repeats: int) -> Report:
    """Times the epochs in turns."""
    data = data_of(config_with())
    cases = [
        Case(name="without", prepare=epoch_with(data)),
        Case(name="gradients + dead_units", prepare=epoch_with(data, *ALWAYS)),
        Case(name="and five more", prepare=epoch_with(data, *ALWAYS, *OTHERS)),
        Case(name="sharpness", prepare=epoch_with(data, "sharpness")),
    ]
    claims = [
        Claim(case="gradients + dead_units", over="without", limit=1.05),
        Claim(case="and five more", over="without"),
        Claim(case="sharpness", over="without"),
    ]
    return Report(name="probe-cost", timings=take_turns(cases, repeats), claims=claims)
