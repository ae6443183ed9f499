"""What was checked, what it came to, and what it was held against."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any


@dataclass(frozen=True, kw_only=True)
class Check:
    """One check of a bundle.

    Args:
        name: Dotted, from the part checked to what was checked: `onnx.numbers.disabled.real`.
        passed: Whether it held.
        figure: What was measured; `None` where nothing is measured in numbers.
        limit: What the figure must not exceed; `None` where the check is no inequality.
        detail: One line for a person: what it means, or what failed and what to do.
    """

    name: str
    passed: bool
    figure: float | None = None
    limit: float | None = None
    detail: str = ""

    def as_json(self) -> dict[str, Any]:
        """The check as it stands in `verification.json`."""
        return {
            "name": self.name,
            "passed": self.passed,
            "figure": _finite(self.figure),
            "limit": _finite(self.limit),
            "detail": self.detail,
        }

    def __str__(self) -> str:
        measured = "" if self.figure is None else f" {self.figure:.3g}"
        held = "" if self.limit is None else f" (limit {self.limit:.3g})"
        return f"{self.name}:{measured}{held} {self.detail}".rstrip()


@dataclass(frozen=True, kw_only=True)
class Report:
    """All checks of one bundle, in the order in which they were made."""

    checks: tuple[Check, ...]

    @property
    def passed(self) -> bool:
        """Whether every check held; a report without checks proves nothing."""
        return bool(self.checks) and all(check.passed for check in self.checks)

    @property
    def failures(self) -> tuple[Check, ...]:
        """The checks that did not hold."""
        return tuple(check for check in self.checks if not check.passed)

    def as_json(self) -> dict[str, Any]:
        """The report as `verification.json` holds it."""
        return {"passed": self.passed, "checks": [check.as_json() for check in self.checks]}

    @classmethod
    def from_json(cls, document: Mapping[str, Any]) -> Report:
        """Reads what `as_json` wrote.

        Raises:
            KeyError: A key is missing.
            TypeError: A value is not what it should be.
        """
        return cls(checks=tuple(Check(**check) for check in document["checks"]))


def _finite(number: float | None) -> float | None:
    """JSON knows neither NaN nor infinity."""
    return number if number is not None and math.isfinite(number) else None


def at_most(name: str, figure: float, limit: float, detail: str = "") -> Check:
    """A check that holds where `figure <= limit`; NaN never holds."""
    return Check(name=name, passed=bool(figure <= limit), figure=float(figure), limit=float(limit), detail=detail)


def holds(name: str, passed: bool, detail: str = "") -> Check:
    """A check without a figure."""
    return Check(name=name, passed=passed, detail=detail)


def prefixed(prefix: str, checks: Sequence[Check]) -> list[Check]:
    """The same checks under `prefix.`."""
    return [
        Check(name=f"{prefix}.{c.name}", passed=c.passed, figure=c.figure, limit=c.limit, detail=c.detail)
        for c in checks
    ]
