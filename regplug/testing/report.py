"""Results of the kit."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable, Iterator
from dataclasses import dataclass, replace
from typing import Any, Literal

_MOST_ALIKE = 2

Outcome = Literal["passed", "failed", "skipped", "expected_failure"]


@dataclass(frozen=True, kw_only=True)
class Result:
    """The result of one check of one component.

    Args:
        component: Kind and name.
        check: Name of the check.
        outcome: `failed` also where a mandatory check could not be made, or an expected failure passes.
        reason: Why it failed, was skipped or was expected to fail; empty where it passed.
        seconds: How long it took.
        made: Whether it could be made; a mandatory check that could not has failed.
        hint: What makes it possible where it could not be made; may be empty.
    """

    component: str
    check: str
    outcome: Outcome
    reason: str = ""
    seconds: float = 0.0
    made: bool = True
    hint: str = ""

    def __str__(self) -> str:
        return f"{self.outcome:16} {self.component}: {self.check}" + (f" - {self.told}" if self.reason else "")

    @property
    def told(self) -> str:
        """The reason in full."""
        return self.reason if self.made else f"this mandatory check could not be made: {self.reason}. {self.hint}"


@dataclass(frozen=True, kw_only=True)
class KitReport:
    """All checks of one component, or of all components of a distribution.

    Args:
        subject: What was checked.
        level: Version of the kit's demands.
        results: In the order in which the checks were made.
    """

    subject: str
    level: int
    results: tuple[Result, ...]

    @property
    def passed(self) -> bool:
        """Whether nothing failed; a report without a single passed check proves nothing."""
        counts = self.counts
        return counts["failed"] == 0 and counts["passed"] > 0

    @property
    def counts(self) -> Counter[str]:
        """Number of checks by outcome."""
        return Counter(result.outcome for result in self.results)

    @property
    def failures(self) -> tuple[Result, ...]:
        """The checks that failed."""
        return tuple(result for result in self.results if result.outcome == "failed")

    def outcome(self, check: str) -> Outcome:
        """Returns the result of the check with that name.

        Raises:
            KeyError: There is no such check.
        """
        return {result.check: result.outcome for result in self.results}[check]

    def lines(self) -> list[str]:
        """The report as text: everything that did not simply pass, then the counts and the reasons for skipping.

        A line for each check; what several checks of a component say alike, or what keeps them from being made, is told
        once.
        """
        not_made = sum(not one.made for one in self.results)
        counts = self.counts
        ran = len(self.results) - counts["skipped"] - not_made
        expected = f", {counts['expected_failure']} expected failures" if counts["expected_failure"] else ""
        missed = f", {not_made} mandatory ones could not be made" if not_made else ""
        seconds = sum(result.seconds for result in self.results)
        summary = (
            f"{self.subject}: {ran} checks ran, {counts['failed'] - not_made} failed{expected}{missed}, "
            f"{counts['skipped']} skipped; {seconds:.1f} s, level {self.level}"
        )
        return [*_failures(self.results), *_not_made(self.results), summary, *_skips(self.results)]

    def document(self) -> dict[str, Any]:
        """The report as JSON values."""
        return {
            "subject": self.subject,
            "level": self.level,
            "passed": self.passed,
            "counts": {name: self.counts[name] for name in ("passed", "failed", "skipped", "expected_failure")},
            "checks": [
                {
                    "component": result.component,
                    "check": result.check,
                    "outcome": result.outcome,
                    "reason": result.reason,
                    "made": result.made,
                    "hint": result.hint,
                    "seconds": round(result.seconds, 3),
                }
                for result in self.results
            ],
        }

    def raise_if_failed(self) -> None:
        """Raises `AssertionError` with the lines of the report unless it passed."""
        if not self.passed:
            raise AssertionError("\n".join(self.lines()))


def merge(subject: str, level: int, reports: Iterable[KitReport]) -> KitReport:
    """Merges reports into one."""
    return KitReport(subject=subject, level=level, results=tuple(r for report in reports for r in report.results))


def _failures(results: Iterable[Result]) -> Iterator[str]:
    """A line for each reason of a component: a target that cannot be imported fails every check alike."""
    alike: dict[tuple[str, str, str], list[Result]] = {}
    for one in results:
        if one.outcome in ("failed", "expected_failure") and one.made:
            alike.setdefault((one.component, one.outcome, one.reason), []).append(one)
    for first, *others in alike.values():
        if len(others) < _MOST_ALIKE:
            yield from map(str, (first, *others))
        else:
            yield str(replace(first, check=f"{first.check} and {len(others)} more"))


def _not_made(results: Iterable[Result]) -> Iterator[str]:
    """Two lines for each component and reason: why its mandatory checks could not be made, and what helps."""
    numbers = Counter((one.component, one.reason, one.hint) for one in results if not one.made)
    for (component, reason, hint), number in numbers.items():
        checks = "1 mandatory check" if number == 1 else f"{number} mandatory checks"
        yield f"{'failed':16} {component}: {checks} could not be made - {reason}"
        if hint:
            yield f"{'':16} {hint}"


def _skips(results: Iterable[Result]) -> list[str]:
    """One line for each reason, with the number of checks that it skipped."""
    reasons = Counter(result.reason for result in results if result.outcome == "skipped")
    return [f"  {number} skipped: {reason}" for reason, number in reasons.most_common()]
