"""The results of a benchmark as a table and as JSON."""

from __future__ import annotations

import json
import platform
import statistics
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field

import torch

from benchmarks.measure import Claim, Timing, Verdict, judge


@dataclass(frozen=True, kw_only=True)
class Report:
    """The results of one benchmark.

    Args:
        name: Its name.
        timings: The timing of each case.
        claims: Ratios to report, with or without limits.
        facts: Further lines.
        checks: Description of a further limit -> whether it holds.
    """

    name: str
    timings: Mapping[str, Timing]
    claims: Sequence[Claim]
    facts: Sequence[str] = field(default_factory=tuple)
    checks: Mapping[str, bool] = field(default_factory=dict)

    def verdicts(self) -> list[Verdict]:
        """Every claim with its measured ratios."""
        return [judge(claim, dict(self.timings)) for claim in self.claims]

    @property
    def holds(self) -> bool:
        """Whether all limits hold."""
        return all(verdict.holds is not False for verdict in self.verdicts()) and all(self.checks.values())


def as_text(report: Report) -> str:
    """Returns the table as text."""
    lines = [f"{report.name}: medians of {_repeats(report)} turns, {torch.get_num_threads()} threads", ""]
    lines += [f"{'case':<30} {'wall':>10} {'least':>10} {'cpu':>10} {'peak':>9}"]
    for timing in report.timings.values():
        wall, cpu = statistics.median(timing.wall_s), statistics.median(timing.cpu_s)
        peak = f"{statistics.median(timing.peak_mb):6.0f} MB" if timing.peak_mb else "-"
        lines.append(
            f"{timing.name:<30} {wall * 1e3:7.1f} ms {min(timing.wall_s) * 1e3:7.1f} ms {cpu * 1e3:7.1f} ms {peak:>9}"
            f"  {timing.note}"
        )
    checks = [f"{what}: {'holds' if holds else 'BROKEN'}" for what, holds in report.checks.items()]
    lines += ["", *(_sentence(verdict) for verdict in report.verdicts()), *checks, *report.facts]
    return "\n".join(lines)


def _sentence(verdict: Verdict) -> str:
    claim = verdict.claim
    times = f"{claim.times:g} x " if claim.times != 1 else ""
    line = f"{times}{claim.case} / {claim.over}: {verdict.wall_ratio:.2f} (cpu {verdict.cpu_ratio:.2f})"
    if claim.limit is not None:
        word = "holds" if verdict.holds else "BROKEN"
        aim = f", aim {claim.aim:g}" if claim.aim is not None else ""
        line += f", {claim.side} {claim.limit:g}{aim}: {word}"
    return line


def as_json(report: Report) -> str:
    """Returns all measurements as JSON."""
    return json.dumps(
        {
            "name": report.name,
            "threads": torch.get_num_threads(),
            "torch": torch.__version__,
            "machine": f"{platform.machine()} {platform.system()}",
            "cases": [
                {"name": t.name, "note": t.note, "wall_s": t.wall_s, "cpu_s": t.cpu_s, "peak_mb": t.peak_mb}
                for t in report.timings.values()
            ],
            "ratios": [
                {
                    "case": v.claim.case,
                    "over": v.claim.over,
                    "times": v.claim.times,
                    "wall_ratio": v.wall_ratio,
                    "cpu_ratio": v.cpu_ratio,
                    "side": v.claim.side,
                    "limit": v.claim.limit,
                    "aim": v.claim.aim,
                    "holds": v.holds,
                }
                for v in report.verdicts()
            ],
            "checks": dict(report.checks),
            "facts": list(report.facts),
        },
        indent=2,
    )


def _repeats(report: Report) -> int:
    return max((len(timing.wall_s) for timing in report.timings.values()), default=0)
