"""Chooses the figures of a study and prepares their data."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, Any

import numpy as np

from regplug.reports import plots
from regplug.reports.plots import Band
from regplug.statistics import Analysis, Study, Summary

if TYPE_CHECKING:
    from matplotlib.figure import Figure

MOST_LINES = 6
"""Most lines in a figure; more are hard to distinguish."""

MOST_ROWS = 30
"""Most rows in a figure of rows, which shows the best ones."""

LEADING = 4
"""Number of settings with learning curves, besides the reference and the chosen setting."""

Curve = Sequence[tuple[float, float]]


def settings_figure(study: Study, analysis: Analysis) -> Figure:
    """Returns a figure of the metric against the one number that varies, or with a dot for each setting.

    Args:
        study: Settings with their values.
        analysis: Their summaries.
    """
    shown = {summary.label: summary for summary in analysis.summaries if summary.n}
    axis = numeric_axis(study)
    lines = _lines(study, shown, axis) if axis else {}
    if axis is None or not 0 < len(lines) <= MOST_LINES:
        leading = list(shown.values())[:MOST_ROWS]
        return plots.rows_figure(analysis.metric, [summary.label for summary in leading], _band("", leading))
    bands = []
    for name, points in lines.items():
        ordered = sorted(points, key=lambda point: point[0])
        bands.append(_band(name, [summary for _, summary in ordered], [x for x, _ in ordered]))
    is_log = is_log_spaced({x for points in lines.values() for x, _ in points})
    return plots.bands_figure(axis, analysis.metric, bands, is_log=is_log)


def settings_png(study: Study, analysis: Analysis) -> bytes:
    """Returns the same figure as PNG, for the study's run."""
    return plots.png(settings_figure(study, analysis))


def forest_figure(analysis: Analysis) -> Figure:
    """Returns a forest plot of the differences with their intervals."""
    shown = [comparison for comparison in analysis.comparisons if comparison.interval is not None][:MOST_ROWS]
    is_common = analysis.reference is not None
    ends = [comparison.interval or (math.nan, math.nan) for comparison in shown]
    rows = Band(
        label="",
        xs=(),
        mean=[comparison.difference or 0.0 for comparison in shown],
        low=[low for low, _ in ends],
        high=[high for _, high in ends],
    )
    labels = [c.first if is_common else f"{c.first} minus {c.second}" for c in shown]
    better = "left of zero is better" if analysis.is_lower_better else "right of zero is better"
    return plots.rows_figure(f"difference in {analysis.metric}", labels, rows, zero=better)


def learning_figure(metric: str, by_setting: Mapping[str, Sequence[Curve]], labels: Sequence[str]) -> Figure:
    """Returns learning curves: the mean over runs, plus and minus one standard deviation (n - 1).

    Args:
        metric: Name of the metric.
        by_setting: One curve of (epoch, value) for each run, by setting.
        labels: The settings to show, in order.
    """
    return plots.bands_figure("epoch", metric, [mean_curve(label, by_setting[label]) for label in labels])


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


def numeric_axis(study: Study) -> str | None:
    """Returns the only axis with numbers; `None` if there is none, or more than one."""
    columns: dict[str, set[Any]] = {}
    for setting in study.settings:
        for name, value in setting.varied.items():
            columns.setdefault(name, set()).add(value if isinstance(value, int | float) else str(value))
    numeric = [name for name, values in columns.items() if len(values) > 1 and all(map(_is_number, values))]
    return numeric[0] if len(numeric) == 1 else None


def _is_number(value: Any) -> bool:
    return isinstance(value, int | float) and not isinstance(value, bool) and math.isfinite(value)


def is_log_spaced(xs: set[float]) -> bool:
    """Returns whether the nonzero numbers are spaced by factors: the largest step exceeds the smallest tenfold.

    >>> is_log_spaced({0, 0.01, 0.1, 1}), is_log_spaced({1, 2, 3, 4})
    (True, False)
    """
    positive = sorted(x for x in xs if x > 0)
    steps = np.diff(positive)
    return min(xs) >= 0 and len(positive) > 2 and float(steps.max() / steps.min()) >= MOST_LINEAR_RATIO


MOST_LINEAR_RATIO = 4.0
"""Largest ratio of the steps between values that a linear axis still shows well: 1, 2, 5 has 3."""


def _lines(study: Study, shown: Mapping[str, Summary], axis: str) -> dict[str, list[tuple[float, Summary]]]:
    """Returns the points of each line: one line for each combination of the other axes."""
    varied = {name for setting in study.settings for name in setting.varied}
    others = [name for name in sorted(varied - {axis}) if len({str(s.varied.get(name)) for s in study.settings}) > 1]
    lines: dict[str, list[tuple[float, Summary]]] = {}
    for setting in study.settings:
        if setting.label in shown and axis in setting.varied:
            name = ", ".join(f"{other.rpartition('.')[2]}={setting.varied.get(other, 'none')}" for other in others)
            lines.setdefault(name, []).append((float(setting.varied[axis]), shown[setting.label]))
    return lines


def _band(label: str, summaries: Sequence[Summary], xs: Sequence[float] = ()) -> Band:
    ends = [summary.t_interval or (math.nan, math.nan) for summary in summaries]
    return Band(
        label=label,
        xs=xs,
        mean=[summary.mean if summary.mean is not None else math.nan for summary in summaries],
        low=[low for low, _ in ends],
        high=[high for _, high in ends],
    )
