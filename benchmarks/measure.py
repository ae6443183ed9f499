"""Interleaved repeats, medians and ratios.

On a busy machine, two programs timed one after the other run under different loads. So the cases take turns (A B A B),
a ratio is the median of the ratios within each turn, and CPU time is measured as well as wall time.
"""

from __future__ import annotations

import gc
import os
import statistics
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Literal


@dataclass(frozen=True, kw_only=True)
class Case:
    """One case to time.

    Args:
        name: Its name in the table.
        prepare: Returns the function to time; not timed itself.
        note: A description in one line.
        is_here: Whether it runs in this process, so that its peak memory can be measured.
    """

    name: str
    prepare: Callable[[], Callable[[], object]]
    note: str = ""
    is_here: bool = True


@dataclass(frozen=True, kw_only=True)
class Timing:
    """The measurements of a case; `peak_mb` is the peak resident memory, if the system reports it."""

    name: str
    note: str
    wall_s: list[float] = field(default_factory=list)
    cpu_s: list[float] = field(default_factory=list)
    peak_mb: list[float] = field(default_factory=list)


@dataclass(frozen=True, kw_only=True)
class Claim:
    """A ratio of two cases, `times * wall(case) / wall(over)`, and its limit.

    Args:
        case: Numerator.
        over: Denominator.
        limit: The bound; `None` for a ratio that is only reported.
        side: Whether the bound is an upper or a lower bound.
        aim: The desired value.
        times: Factor, if the denominator stands for several cases like the numerator.
    """

    case: str
    over: str
    limit: float | None = None
    side: Literal["at most", "at least"] = "at most"
    aim: float | None = None
    times: float = 1.0


@dataclass(frozen=True, kw_only=True)
class Verdict:
    """A claim with its measured ratios."""

    claim: Claim
    wall_ratio: float
    cpu_ratio: float

    @property
    def holds(self) -> bool | None:
        """Whether wall time is within the limit; `None` without a limit."""
        if self.claim.limit is None:
            return None
        least = self.claim.side == "at least"
        return self.wall_ratio >= self.claim.limit if least else self.wall_ratio <= self.claim.limit


def take_turns(cases: Sequence[Case], repeats: int) -> dict[str, Timing]:
    """Times every case once in each turn, after one warm-up turn."""
    timings = {case.name: Timing(name=case.name, note=case.note) for case in cases}
    for turn in range(repeats + 1):
        for case in cases:
            timed = case.prepare()
            gc.collect()
            _reset_peak()
            cpu, wall = _cpu_s(), time.perf_counter()
            timed()
            wall, cpu = time.perf_counter() - wall, _cpu_s() - cpu
            if turn:
                timings[case.name].wall_s.append(wall)
                timings[case.name].cpu_s.append(cpu)
                if case.is_here:
                    timings[case.name].peak_mb.append(_peak_mb())
    return timings


def _cpu_s() -> float:
    """Returns the CPU seconds of this process and of its finished child processes."""
    times = os.times()
    return time.process_time() + times.children_user + times.children_system


def judge(claim: Claim, timings: dict[str, Timing]) -> Verdict:
    """Returns the median of the ratios within each turn."""
    case, over = timings[claim.case], timings[claim.over]

    def ratio(above: list[float], below: list[float]) -> float:
        return statistics.median(claim.times * a / b for a, b in zip(above, below, strict=True) if b)

    return Verdict(
        claim=claim,
        wall_ratio=ratio(case.wall_s, over.wall_s),
        cpu_ratio=ratio(case.cpu_s, over.cpu_s) if all(over.cpu_s) else float("nan"),
    )


_CLEAR, _STATUS = Path("/proc/self/clear_refs"), Path("/proc/self/status")


def _reset_peak() -> None:
    try:
        _CLEAR.write_text("5")
    except OSError:
        return  # not Linux, or not allowed: the peak is then that of the whole process


def _peak_mb() -> float:
    if not _STATUS.exists():
        return float("nan")
    line = next(line for line in _STATUS.read_text().splitlines() if line.startswith("VmHWM"))
    return int(line.split()[1]) / 1024
