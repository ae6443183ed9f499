"""Checks with their results and limits."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any


@dataclass(frozen=True, kw_only=True)
class Check:
    """One check of a bundle.

    Args:
        name: Dotted name, from general to specific: `onnx.numbers.disabled.real`.
        passed: Whether it passed.
        figure: The measured number, or `None`.
        limit: The limit of the figure; `None` if the check is not an inequality.
        detail: One line for the user: what it means, or what failed and what to do.
    """

    name: str
    passed: bool
    figure: float | None = None
    limit: float | None = None
    detail: str = ""

    def as_json(self) -> dict[str, Any]:
        """Returns the check as in `verification.json`."""
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
    """All checks of one bundle, in order."""

    checks: tuple[Check, ...]

    @property
    def passed(self) -> bool:
        """Whether every check passed; False for a report without checks."""
        return bool(self.checks) and all(check.passed for check in self.checks)

    @property
    def failures(self) -> tuple[Check, ...]:
        """The failed checks."""
        return tuple(check for check in self.checks if not check.passed)

    def as_json(self) -> dict[str, Any]:
        """Returns the report as in `verification.json`."""
        return {"passed": self.passed, "checks": [check.as_json() for check in self.checks]}

    @classmethod
    def from_json(cls, document: Mapping[str, Any]) -> Report:
        """Reads the result of `as_json`.

        Raises:
            KeyError: A key is missing.
            TypeError: A value has the wrong type.
        """
        return cls(checks=tuple(Check(**check) for check in document["checks"]))


def _finite(number: float | None) -> float | None:
    """Replaces NaN and infinity, which JSON does not have, by `None`."""
    return number if number is not None and math.isfinite(number) else None


def at_most(name: str, figure: float, limit: float, detail: str = "") -> Check:
    """Returns a check that passes if `figure <= limit`; NaN never passes."""
    return Check(name=name, passed=bool(figure <= limit), figure=float(figure), limit=float(limit), detail=detail)


def holds(name: str, passed: bool, detail: str = "") -> Check:
    """Returns a check without a figure."""
    return Check(name=name, passed=passed, detail=detail)


def prefixed(prefix: str, checks: Sequence[Check]) -> list[Check]:
    """Returns the checks with `prefix.` before their names."""
    return [
        Check(name=f"{prefix}.{c.name}", passed=c.passed, figure=c.figure, limit=c.limit, detail=c.detail)
        for c in checks
    ]
