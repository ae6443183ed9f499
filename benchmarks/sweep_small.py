"""128 runs of linear_regression (16 strengths x 8 seeds, 100 epochs) in a stack, against a hand-written loop.

First training only, then the whole command with tracking; see `benchmarks.whole_sweep`.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from benchmarks import whole_sweep
from benchmarks.measure import Case, Claim, take_turns
from benchmarks.ours import all_epochs, assembled, data_of, trainer_of, with_settings
from benchmarks.report import Report
from benchmarks.run_small import STRENGTH, by_hand, config_with
from regplug.data import Prepared

SEEDS, STRENGTHS = 8, [STRENGTH * number / 15 for number in range(16)]
RUNS = SEEDS * len(STRENGTHS)


def stack(data: Prepared) -> Callable[[], Any]:
    """Prepares the 128 runs; the timed part stacks and trains them."""
    seeds = [assembled(config_with("l2:strength=1", seed=seed), data) for seed in range(SEEDS)]
    runs = [with_settings(made.inputs, {"l2": {"strength": s}}) for made in seeds for s in STRENGTHS]
    return lambda: all_epochs(trainer_of(seeds[0], runs))()


def bench(repeats: int) -> Report:
    """Times the stack and eight runs by hand, and the whole command."""
    data = data_of(config_with())

    def hands() -> Callable[[], Any]:
        trainings = [by_hand(data, strength=STRENGTH)() for _ in range(SEEDS)]
        return lambda: [training() for training in trainings]

    cases = [
        Case(name="128 runs stacked", prepare=lambda: stack(data)),
        Case(name="8 runs by hand", prepare=hands),
    ]
    claim = Claim(
        case="8 runs by hand",
        over="128 runs stacked",
        limit=20,
        side="at least",
        aim=60,
        times=RUNS / SEEDS,
    )
    timings = take_turns(cases, repeats)
    whole = whole_sweep.measure(data, repeats)
    return Report(
        name="sweep-small",
        timings=timings | whole.timings,
        claims=[claim, *whole_sweep.CLAIMS],
        facts=whole.facts,
        checks=whole.checks,
    )
