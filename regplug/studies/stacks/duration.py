"""Estimates how long a study takes, from a short rehearsal of the first stack of each group."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

from regplug.studies.stacks.rehearsing import Rehearsal
from regplug.studies.stacks.running import Chunks, GroupRunner

START_S = 8.0
"""Seconds to start, read the data, open the store and write the report; measured, as the next three, on two cores."""

NETWORK_S = 0.5
"""Seconds to measure the stack sizes of a group, or to check that its network can be exported."""

TRACKED_S = 0.01
"""Seconds to analyse and track one run."""

EXPORT_S = 6.0
"""Seconds to track, export and verify one final run of a small network."""


@dataclass(frozen=True, kw_only=True)
class Duration:
    """The estimated duration of a study in seconds of wall-clock time.

    Args:
        training_s: Training of all its runs.
        final_s: Training the best setting again and exporting it; 0 if this is left out.
        other_s: Everything else: start, stack sizes, statistics, tracking.
    """

    training_s: float
    final_s: float
    other_s: float

    @property
    def total_s(self) -> float:
        """Duration of the whole study."""
        return self.training_s + self.final_s + self.other_s

    def document(self) -> dict[str, Any]:
        """Returns the estimate as JSON."""
        return {"seconds": self.total_s, **vars(self), "is_estimate": True}

    def __str__(self) -> str:
        final = f", of which {in_words(self.final_s)} to train the best setting again and export it"
        return f"about {in_words(self.total_s)}{final if self.final_s else ''} (an estimate from a few steps)"


def estimate_duration(
    runners: Sequence[GroupRunner], plans: Sequence[Chunks], *, final_seeds: int, exports: bool
) -> Duration:
    """Returns how long a study will take on this machine as it is now.

    Args:
        runners: Its groups.
        plans: Their stacks.
        final_seeds: How often the best setting is trained again; 0 for not at all.
        exports: Whether it is exported.
    """
    rehearsals = [runner.rehearse(max(plan.sizes)) for runner, plan in zip(runners, plans, strict=True)]
    training_s = sum(map(_training_s, runners, rehearsals, plans))
    runs = sum(sum(plan.sizes) for plan in plans)
    final_s = 0.0
    if final_seeds:
        # The first group stands for the best setting, which is not known.
        alone = rehearsals[0] if max(plans[0].sizes) == 1 else runners[0].rehearse(1)
        final_s = final_seeds * _run_s(runners[0], alone) + EXPORT_S + NETWORK_S * exports * len(runners)
    other_s = START_S + NETWORK_S * len(runners) + TRACKED_S * runs
    return Duration(training_s=training_s, final_s=final_s, other_s=other_s)


def _training_s(runner: GroupRunner, rehearsal: Rehearsal, plan: Chunks) -> float:
    largest = max(plan.sizes)
    return sum(_run_s(runner, rehearsal) * size / largest for size in plan.sizes)


def _run_s(runner: GroupRunner, rehearsal: Rehearsal) -> float:
    return rehearsal.around_s + rehearsal.epoch_s * runner.epochs


def in_words(seconds: float) -> str:
    """Returns a duration in words, with two digits.

    >>> in_words(4.2), in_words(89), in_words(3 * 3600)
    ('4 s', '1.5 min', '3 h')
    """
    for unit, size in (("h", 3600), ("min", 60)):
        if seconds >= size:
            return f"{seconds / size:.2g} {unit}"
    return f"{seconds:.2g} s"
