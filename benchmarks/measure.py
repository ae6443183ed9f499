"""Interleaved repeats, medians and ratios.

On a busy machine two programs timed one after the other are timed under two loads. So the cases take turns (A B A B),
a ratio is the median of the ratios within each turn, and CPU time stands beside wall time.
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
    """One thing to time.

    Args:
        name: What the table calls it.
        prepare: Makes what is timed; not timed itself.
        note: What it is, in a line.
        is_here: Whether it runs in this process, whose memory then tells its peak.
    """

    name: str
    prepare: Callable[[], Callable[[], object]]
    note: str = ""
    is_here: bool = True


@dataclass(frozen=True, kw_only=True)
class Timing:
    """What the repeats of a case came to; `peak_mb` is the greatest resident memory, where the system tells."""

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
        limit: The bound; `None` for a ratio that is told and not judged.
        side: Whether the bound is the most or the least allowed.
        aim: What one would like.
        times: Factor, where a case is one of many that its other stands for.
    """

    case: str
    over: str
    limit: float | None = None
    side: Literal["at most", "at least"] = "at most"
    aim: float | None = None
    times: float = 1.0


@dataclass(frozen=True, kw_only=True)
class Verdict:
    """A claim and what it came to."""

    claim: Claim
    wall_ratio: float
    cpu_ratio: float

    @property
    def holds(self) -> bool | None:
        """Whether wall time keeps the limit; `None` where there is none."""
        if self.claim.limit is None:
            return None
        least = self.claim.side == "at least"
        return self.wall_ratio >= self.claim.limit if least else self.wall_ratio <= self.claim.limit


def take_turns(cases: Sequence[Case], repeats: int) -> dict[str, Timing]:
    """Times every case once in each turn, after one turn that is thrown away."""
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
    """Seconds of CPU of this process and of those that it started and waited for."""
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
