"""Learning curves averaged over the runs of a setting."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np

from regplug.reports.plots import Band
from regplug.statistics import Analysis

LEADING = 4
"""Number of settings with learning curves, besides the reference and the chosen setting."""

Curve = Sequence[tuple[float, float]]

Curves = Mapping[str, Mapping[str, Sequence[Curve]]]
"""Metric -> label of a setting -> one curve of (epoch, value) for each run."""


def leading(analysis: Analysis, available: Mapping[str, Any]) -> list[str]:
    """Returns the settings with learning curves: the best few, the reference and the chosen setting."""
    order = [summary.label for summary in analysis.summaries if summary.label in available]
    extra = [label for label in order[LEADING:] if label in (analysis.reference, analysis.selected)]
    return order[:LEADING] + extra


def mean_curve(label: str, curves: Sequence[Curve]) -> Band:
    """Returns the mean of curves, plus and minus one standard deviation.

    A run that stopped early keeps its last value, as its weights do. NaN and infinite values are ignored.

    Args:
        label: Label of the curves.
        curves: Points (epoch, value), ascending in epoch.
    """
    epochs = sorted({epoch for curve in curves for epoch, _ in curve})
    values = np.array([_held(curve, epochs) for curve in curves], dtype=np.float64).reshape(len(curves), len(epochs))
    known = np.isfinite(values)
    count = known.sum(axis=0)
    mean = np.where(known, values, 0).sum(axis=0) / np.maximum(count, 1)
    squares = np.where(known, (values - mean) ** 2, 0).sum(axis=0)
    spread = np.where(count > 1, np.sqrt(squares / np.maximum(count - 1, 1)), np.nan)
    mean[count == 0] = np.nan
    return Band(label=label, xs=epochs, mean=list(mean), low=list(mean - spread), high=list(mean + spread))


def _held(curve: Curve, epochs: Sequence[float]) -> list[float]:
    at, held, found = dict(curve), math.nan, []
    for epoch in epochs:
        held = at.get(epoch, held)
        found.append(held)
    return found
