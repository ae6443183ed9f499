"""Figures of points: a setting's performance against its gap and its cost."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import Any

import numpy as np

from regplug.reports import plots
from regplug.reports.drawing import Drawing, mean_of
from regplug.reports.plots import Point
from regplug.statistics import Analysis, Study, Summary

LEAST_COST_RATIO = 1.1
"""From this ratio of the slowest to the fastest setting on, the cost is drawn."""


def gap_drawings(study: Study, analysis: Analysis, shown: Mapping[str, Summary]) -> Iterator[Drawing]:
    """Yields the drawing of the generalization gap against the performance."""
    train = f"train/{analysis.metric.partition('/')[2]}"
    sign = 1.0 if analysis.is_lower_better else -1.0
    gaps: dict[str, list[float]] = {}
    for run in study.runs:
        held_out, seen = run.value(analysis.metric), run.value(train)
        if held_out is not None and seen is not None and train != analysis.metric:
            gaps.setdefault(run.setting, []).append(sign * (held_out - seen))
    points = _points(analysis, shown, {label: float(np.mean(found)) for label, found in gaps.items()})
    if len(points) > 1:
        name = f"{analysis.metric} minus {train}" if analysis.is_lower_better else f"{train} minus {analysis.metric}"
        yield Drawing(
            name="gap",
            title="Generalization gap against performance",
            caption="Mean of each setting, numbered as in the table of settings; filled: the reference and the chosen "
            "setting. A large gap means overfitting.",
            draw=lambda: plots.points_figure(name, analysis.metric, points),
        )


def cost_drawings(analysis: Analysis, shown: Mapping[str, Summary]) -> Iterator[Drawing]:
    """Yields the drawing of the time of a run against the performance, if the settings differ in it."""
    seconds = {label: summary.seconds for label, summary in shown.items() if summary.seconds}
    points = _points(analysis, shown, seconds)
    if len(points) > 1 and max(p.x for p in points) >= LEAST_COST_RATIO * min(p.x for p in points):
        yield Drawing(
            name="cost",
            title="Cost against performance",
            caption="Mean training time of a run, numbered as in the table of settings; filled: the reference and the "
            "chosen setting. Runs that were trained together share their time equally.",
            draw=lambda: plots.points_figure("seconds per run", analysis.metric, points),
        )


def _points(analysis: Analysis, shown: Mapping[str, Summary], xs: Mapping[str, Any]) -> list[Point]:
    return [
        Point(
            number=place,
            x=xs[summary.label],
            y=mean_of(summary),
            is_filled=summary.label in (analysis.reference, analysis.selected),
        )
        for place, summary in enumerate(analysis.summaries, start=1)
        if summary.label in xs and summary.label in shown
    ]
