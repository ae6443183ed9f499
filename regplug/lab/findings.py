"""What a study found: values with stable names, claims, figures and what they mean."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

import numpy as np

from regplug.lab.claims import Claim, Verdict, overall
from regplug.reports.drawing import Drawing
from regplug.statistics import t_interval

Values = Mapping[str, float | Sequence[float]]
"""Stable name such as `norm/scratch` -> a number, or one for each seed."""


@dataclass(frozen=True, kw_only=True)
class Findings:
    """What a study returns.

    Args:
        claims: The judged claims; their names differ.
        values: The measured values by stable name; a sequence has one for each seed.
        figures: The figures, made by the functions of `regplug.lab.figures`.
        text: What it means, in a few sentences of Markdown; also what the notes state wrongly, corrected.
    """

    claims: Sequence[Claim]
    values: Values = field(default_factory=dict)
    figures: Sequence[Drawing] = ()
    text: str = ""

    @property
    def verdict(self) -> Verdict:
        """The verdict of the weakest claim."""
        return overall(self.claims)

    def summary(self) -> list[dict[str, Any]]:
        """Returns a row for each value: `name`, `n`, `mean`, `interval` (95 %, by t), `sd`, `median`, `min`, `max`."""
        return [_row(name, np.atleast_1d(np.asarray(value, np.float64))) for name, value in self.values.items()]


def _row(name: str, values: np.ndarray[Any, np.dtype[np.float64]]) -> dict[str, Any]:
    known = values[np.isfinite(values)]
    row: dict[str, Any] = {"name": name, "n": len(values), "finite": len(known)}
    if not len(known):
        return row | dict.fromkeys(("mean", "interval", "sd", "median", "min", "max"))
    interval = t_interval(known)
    return row | {
        "mean": float(known.mean()),
        "interval": interval and list(interval),
        "sd": float(known.std(ddof=1)) if len(known) > 1 else None,
        "median": float(np.median(known)),
        "min": float(known.min()),
        "max": float(known.max()),
    }


def headline(row: Mapping[str, Any]) -> float:
    """Returns the number of a summary's row that MLflow logs: its mean; NaN without one."""
    return math.nan if row["mean"] is None else float(row["mean"])
