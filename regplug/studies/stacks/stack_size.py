"""How many runs train together: stacks of several sizes are timed in turns, and the least times are compared."""

from __future__ import annotations

import math
import time
from collections.abc import Callable, Iterable, Mapping

import torch

Clock = Callable[[], float]

TRIAL_STEPS = 3
"""Steps in one timed turn."""

_FEWEST_TURNS, _MOST_TURNS = 2, 8
_BUDGET_S = 0.5
"""Seconds after which no further turn is timed, once there were two."""

TRIAL_EPOCHS = _MOST_TURNS + 2
"""Epochs of a trial: more than are run, since the last one is evaluated."""

_NEARLY = 1.15


def candidate_sizes(most: int) -> list[int]:
    """The stack sizes to time, none larger than `most`."""
    return sorted({min(size, most) for size in (1, 8, 32, 128, most)})


def clock_for(threads: int, device: torch.device) -> Clock:
    """The clock that another process disturbs least.

    Work on one thread is measured in CPU time, which stands still while another process has the core. Several threads
    or a GPU are measured in wall time: CPU time would count every thread, and nothing of what a GPU does.

    Args:
        threads: The most threads that any of the trials uses.
        device: Where the trials run.
    """
    return time.process_time if threads == 1 and device.type == "cpu" else time.perf_counter


def least_times(trials: Mapping[int, Callable[[], bool]], clock: Clock) -> dict[int, float]:
    """Times each trial several times and returns its least time.

    A busy machine only ever adds time, so the least of several short turns is closest to the true cost. The trials take
    turns, so that a busy phase slows all of them instead of one.

    Args:
        trials: Stack size -> one short piece of training; it returns whether it ran. One that did not run is not timed
            again.
        clock: Returns seconds.

    Returns:
        Stack size -> seconds; infinity for a trial that never ran.
    """
    least, running = dict.fromkeys(trials, math.inf), dict(trials)
    spent = 0.0
    for turn in range(_MOST_TURNS):
        if turn >= _FEWEST_TURNS and spent > _BUDGET_S:
            break
        for size, trial in list(running.items()):
            began = clock()
            if not trial():
                del running[size]
                continue
            seconds = clock() - began
            spent += seconds
            least[size] = min(least[size], seconds)
    return least


def best_size(seconds: Mapping[int, float]) -> int:
    """The stack size to train with.

    A stack must be clearly faster than one run by itself, which needs less memory. Of stacks that are nearly equally
    fast, the largest is taken.

    Args:
        seconds: Stack size -> seconds for each run.
    """
    best = min(seconds, key=lambda size: seconds[size])
    if best == 1 or _NEARLY * seconds[best] > seconds.get(1, math.inf):
        return 1
    return max(size for size, value in seconds.items() if size > 1 and value <= _NEARLY * seconds[best])


def even_stacks(runs: int, size: int) -> tuple[int, ...]:
    """Splits runs into as few stacks of at most `size` as possible, of nearly equal sizes."""
    count = math.ceil(runs / size)
    return tuple(runs // count + (i < runs % count) for i in range(count))


def described(seconds: Mapping[int, float], at_most: Iterable[int] = ()) -> str:
    """Says what was measured, for the plan."""
    told = ", ".join(f"{size}: {value * 1e6:.0f}" for size, value in seconds.items())
    bound = "".join(f", at most {most} fit into memory" for most in at_most)
    return f"microseconds a step and run, by stack size: {told}{bound}"
