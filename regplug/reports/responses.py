"""Figures of how settings depend on the numbers and names in which they differ: curves and heat maps."""

from __future__ import annotations

import math
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import replace
from typing import TYPE_CHECKING

import numpy as np

from regplug.reports import plots
from regplug.reports.drawing import Drawing, ends_of, first_of, mean_of
from regplug.reports.factors import Grid, Response, grid_of, is_log_spaced, responses_of, short, text
from regplug.reports.plots import Band
from regplug.statistics import Analysis, Study, Summary, number

if TYPE_CHECKING:
    from matplotlib.figure import Figure

MOST_LINES = 6
"""Most lines in a figure; more are hard to distinguish."""

MOST_CELLS = 12
"""Most values of a factor in a heat map."""


def strength_drawings(study: Study, analysis: Analysis, shown: Mapping[str, Summary]) -> Iterator[Drawing]:
    """Yields the drawing of the metric against each number that varies."""
    for response in responses_of(study):
        bands = _response_bands(response, analysis, shown)
        if bands:
            yield _strength(response, bands, analysis, shown)


def _strength(response: Response, bands: list[Band], analysis: Analysis, shown: Mapping[str, Summary]) -> Drawing:
    reference = shown.get(analysis.reference or "")
    is_apart = reference is not None and reference.label not in response.labels
    level = (reference.label, mean_of(reference)) if reference is not None and is_apart else None
    is_log = is_log_spaced({x for band in bands for x in band.xs})
    caption = "Mean with its 95 % interval. The ring marks the best mean."
    caption += " The dashed horizontal line is the reference." if level else ""
    caption += " Zero is left of the break in the logarithmic axis." if is_log and 0 in response.xs else ""
    return Drawing(
        name=f"strength-{response.factor}",
        title=f"{analysis.metric} against {short(response.factor)}",
        caption=caption + first_of(MOST_LINES, response.lines, "lines"),
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
            scores = [sign * mean_of(summary) for _, summary in known]
            best = int(np.argmin(scores))
            found.append((scores[best], best, _band(name, [s for _, s in known], [x for x, _ in known])))
    found.sort(key=lambda each: each[0])
    return [replace(band, best=None if at else best) for at, (_, best, band) in enumerate(found[:MOST_LINES])]


def heat_map_drawings(study: Study, analysis: Analysis, shown: Mapping[str, Summary]) -> Iterator[Drawing]:
    """Yields the drawing of a heat map, if two factors vary."""
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
    means = [
        [mean_of(shown[label]) if (label := grid.cells[d, a]) in shown else math.nan for a in across] for d in down
    ]
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


def _band(label: str, summaries: Sequence[Summary], xs: Sequence[float]) -> Band:
    ends = [ends_of(summary) for summary in summaries]
    return Band(
        label=label,
        xs=xs,
        mean=[mean_of(summary) for summary in summaries],
        low=[low for low, _ in ends],
        high=[high for _, high in ends],
    )
