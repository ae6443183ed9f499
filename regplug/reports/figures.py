"""Chooses the figures of a study and prepares their data."""

from __future__ import annotations

import math
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, Any

import numpy as np

from regplug.errors import RequestError, did_you_mean
from regplug.reports import plots
from regplug.reports.curves import Curves, leading, mean_curve
from regplug.reports.factors import Grid, Response, grid_of, is_log_spaced, responses_of, short, text
from regplug.reports.plots import Band, Point, Row
from regplug.statistics import Analysis, Comparison, Ranks, Study, Summary, number

if TYPE_CHECKING:
    from matplotlib.figure import Figure

MOST_LINES = 6
"""Most lines in a figure; more are hard to distinguish."""

MOST_ROWS = 30
"""Most rows in a figure of rows, which shows the best ones."""

MOST_CELLS = 12
"""Most values of a factor in a heat map."""

LEAST_COST_RATIO = 1.1
"""From this ratio of the slowest to the fastest setting on, the cost is drawn."""


@dataclass(frozen=True, kw_only=True)
class Drawing:
    """A figure that can be drawn.

    Args:
        name: Its name, which is also that of its files.
        title: Its heading.
        caption: What it shows.
        draw: Draws it.
    """

    name: str
    title: str
    caption: str
    draw: Callable[[], Figure]


def drawings(study: Study, analysis: Analysis, curves: Curves) -> list[Drawing]:
    """Returns the figures of a study that its settings and runs allow, in the order of the report.

    Args:
        study: Settings and runs.
        analysis: Their analysis.
        curves: Learning curves of the runs, by metric and setting.
    """
    shown = {summary.label: summary for summary in analysis.summaries if summary.n}
    return [
        *_differences(analysis),
        *_settings(study, analysis, shown),
        *_strengths(study, analysis, shown),
        *_heat_map(study, analysis, shown),
        *_ranks(analysis.ranks),
        *_learning(analysis, curves),
        *_gap(study, analysis, shown),
        *_cost(analysis, shown),
    ]


def find(drawn: Sequence[Drawing], name: str) -> Drawing:
    """Returns the figure of this name; the first if the name is empty.

    Raises:
        RequestError: There is none.
    """
    names = [drawing.name for drawing in drawn]
    if not drawn:
        raise RequestError("There is nothing to draw: no run has the metric.")
    if name and name not in names:
        raise RequestError(f"There is no figure {name}.", hint=did_you_mean(name, names))
    return drawn[names.index(name) if name else 0]


def settings_png(study: Study, analysis: Analysis) -> bytes:
    """Returns the metric against the strength that varies, or else by setting, as PNG, for the study's run."""
    shown = {summary.label: summary for summary in analysis.summaries if summary.n}
    chosen = [*_strengths(study, analysis, shown)]
    if len(chosen) != 1:
        chosen = [_rows(analysis, shown)]
    return plots.png(chosen[0].draw())


def _differences(analysis: Analysis) -> Iterator[Drawing]:
    known = [comparison for comparison in analysis.comparisons if comparison.interval is not None]
    if not known:
        return
    is_common = analysis.reference is not None
    caption = "Mean difference of the pairs with its 95 % interval, not corrected for multiple comparisons. "
    caption += "Filled circle: better; filled square: worse; hollow: no detectable difference."
    yield Drawing(
        name="differences",
        title=f"Differences from {analysis.reference}" if is_common else "Differences",
        caption=caption + _first(MOST_ROWS, known),
        draw=lambda: plots.rows_figure(
            f"difference in {analysis.metric}",
            [_difference_row(each, is_common=is_common) for each in known[:MOST_ROWS]],
            zero="left of zero is better" if analysis.is_lower_better else "right of zero is better",
        ),
    )


def _difference_row(comparison: Comparison, *, is_common: bool) -> Row:
    low, high = comparison.interval or (math.nan, math.nan)
    found = "better" if comparison.is_first_better else "worse"
    return Row(
        label=comparison.first if is_common else f"{comparison.first} minus {comparison.second}",
        mean=comparison.difference or 0.0,
        low=low,
        high=high,
        style="open" if not comparison.is_different else "better" if found == "better" else "worse",
    )


def _settings(study: Study, analysis: Analysis, shown: Mapping[str, Summary]) -> Iterator[Drawing]:
    """The means by setting, unless one response shows them all."""
    if shown and not any(set(shown) <= response.labels for response in responses_of(study)):
        yield _rows(analysis, shown)


def _rows(analysis: Analysis, shown: Mapping[str, Summary]) -> Drawing:
    summaries = list(shown.values())
    rows = [
        Row(label=s.label, mean=_mean(s), low=low, high=high) for s in summaries[:MOST_ROWS] for low, high in [_ends(s)]
    ]
    return Drawing(
        name="settings",
        title=f"{analysis.metric} by setting",
        caption="Mean of each setting with its 95 % interval." + _first(MOST_ROWS, summaries),
        draw=lambda: plots.rows_figure(analysis.metric, rows),
    )


def _strengths(study: Study, analysis: Analysis, shown: Mapping[str, Summary]) -> Iterator[Drawing]:
    for response in responses_of(study):
        bands = _response_bands(response, analysis, shown)
        if bands:
            yield _strength(response, bands, analysis, shown)


def _strength(response: Response, bands: list[Band], analysis: Analysis, shown: Mapping[str, Summary]) -> Drawing:
    reference = shown.get(analysis.reference or "")
    is_apart = reference is not None and reference.label not in response.labels
    level = (reference.label, _mean(reference)) if reference is not None and is_apart else None
    is_log = is_log_spaced({x for band in bands for x in band.xs})
    caption = "Mean with its 95 % interval. The ring marks the best mean."
    caption += " The dashed horizontal line is the reference." if level else ""
    caption += " Zero is left of the break in the logarithmic axis." if is_log and 0 in response.xs else ""
    return Drawing(
        name=f"strength-{response.factor}",
        title=f"{analysis.metric} against {short(response.factor)}",
        caption=caption + _first(MOST_LINES, response.lines, "lines"),
        draw=lambda: plots.bands_figure(
            response.factor, analysis.metric, bands, is_log=is_log, level=level, as_bars=len(bands) > 1
        ),
    )


def _response_bands(response: Response, analysis: Analysis, shown: Mapping[str, Summary]) -> list[Band]:
    sign = 1.0 if analysis.is_lower_better else -1.0
    found = []
    for name, points in response.lines.items():
        known = [(x, shown[label]) for x, label in points if label in shown]
        if len(known) > 1:
            scores = [sign * _mean(summary) for _, summary in known]
            best = int(np.argmin(scores))
            found.append((scores[best], best, _band(name, [s for _, s in known], [x for x, _ in known])))
    found.sort(key=lambda each: each[0])
    return [replace(band, best=None if at else best) for at, (_, best, band) in enumerate(found[:MOST_LINES])]


def _heat_map(study: Study, analysis: Analysis, shown: Mapping[str, Summary]) -> Iterator[Drawing]:
    grid = grid_of(study)
    if grid is None or max(map(len, grid.values)) > MOST_CELLS or not shown:
        return
    yield Drawing(
        name="heatmap",
        title=f"{analysis.metric} by {short(grid.names[0])} and {short(grid.names[1])}",
        caption="Mean of each setting. The frame marks the best.",
        draw=lambda: _draw_heat_map(grid, analysis, shown),
    )


def _draw_heat_map(grid: Grid, analysis: Analysis, shown: Mapping[str, Summary]) -> Figure:
    down, across = grid.values
    means = [[_mean(shown[label]) if (label := grid.cells[d, a]) in shown else math.nan for a in across] for d in down]
    cells = np.array(means, dtype=np.float64)
    best = np.nanargmin(cells) if analysis.is_lower_better else np.nanargmax(cells)
    row, column = np.unravel_index(best, cells.shape)
    return plots.heat_map_figure(
        (short(grid.names[0]), short(grid.names[1])),
        ([text(value) for value in down], [text(value) for value in across]),
        cells,
        metric=analysis.metric,
        texts=[[number(value) for value in line] for line in means],
        best=(int(row), int(column)),
    )


def _ranks(ranks: Ranks | None) -> Iterator[Drawing]:
    if ranks is not None and ranks.critical_difference is not None:
        yield ranks_drawing(ranks, ranks.critical_difference)


def ranks_drawing(ranks: Ranks, critical_difference: float) -> Drawing:
    """Returns the critical-difference diagram of ranks over datasets."""
    return Drawing(
        name="ranks",
        title=f"Mean ranks over {ranks.n} {ranks.over}s",
        caption="Mean ranks that are closer than the critical difference (Nemenyi, 5 %) are not told apart.",
        draw=lambda: plots.ranks_figure(ranks.mean_ranks, critical_difference, ranks.groups),
    )


def _learning(analysis: Analysis, curves: Curves) -> Iterator[Drawing]:
    for metric, by_setting in curves.items():
        labels = leading(analysis, by_setting)
        if labels:
            yield Drawing(
                name=f"curves-{metric.replace('/', '-')}",
                title=f"Learning curves: {metric}",
                caption="Mean over the runs of the best settings, plus and minus one standard deviation.",
                draw=lambda m=metric, s=by_setting, names=labels: plots.bands_figure(  # type: ignore[misc]
                    "epoch", m, [mean_curve(label, s[label]) for label in names]
                ),
            )


def _gap(study: Study, analysis: Analysis, shown: Mapping[str, Summary]) -> Iterator[Drawing]:
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


def _cost(analysis: Analysis, shown: Mapping[str, Summary]) -> Iterator[Drawing]:
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
            y=_mean(summary),
            is_filled=summary.label in (analysis.reference, analysis.selected),
        )
        for place, summary in enumerate(analysis.summaries, start=1)
        if summary.label in xs and summary.label in shown
    ]


def _mean(summary: Summary) -> float:
    return math.nan if summary.mean is None else summary.mean


def _ends(summary: Summary) -> tuple[float, float]:
    return summary.t_interval or (math.nan, math.nan)


def _band(label: str, summaries: Sequence[Summary], xs: Sequence[float]) -> Band:
    ends = [_ends(summary) for summary in summaries]
    return Band(
        label=label,
        xs=xs,
        mean=[_mean(summary) for summary in summaries],
        low=[low for low, _ in ends],
        high=[high for _, high in ends],
    )


def _first(most: int, items: Sequence[Any] | Mapping[str, Any], what: str = "settings") -> str:
    return f" The best {most} of {len(items)} {what}." if len(items) > most else ""
