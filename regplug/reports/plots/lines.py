"""Figures of lines: a metric against a strength or the epoch, and functions."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING

from regplug.reports.plots.style import (
    COLORS,
    DASHES,
    FONT_SIZE,
    INK,
    MARKERS,
    WIDTH_INCH,
    dress,
    legend_below,
    make_logarithmic,
    new_figure,
    tick_at_integers,
    visible,
)

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure

MOST_MARKED_POINTS = 24
"""Curves with more points have no dots."""


@dataclass(frozen=True, kw_only=True)
class Band:
    """A line with a band.

    Args:
        label: Its label; empty for none.
        xs: Positions `(n,)`, ascending.
        mean: Values `(n,)`; NaN and infinite ones are not drawn.
        low: Lower ends `(n,)`; NaN without an interval.
        high: Upper ends `(n,)`.
        best: Index of the point to mark as the best; `None` for no mark.
    """

    label: str
    xs: Sequence[float]
    mean: Sequence[float]
    low: Sequence[float]
    high: Sequence[float]
    best: int | None = None


def bands_figure(
    x_name: str,
    y_name: str,
    bands: Sequence[Band],
    *,
    is_log: bool = False,
    level: tuple[str, float] | None = None,
    as_bars: bool = False,
) -> Figure:
    """Returns a figure of lines with bands: a metric against a strength, or against the epoch.

    Args:
        x_name: Name of the x axis.
        y_name: Name of the metric.
        bands: One for each line; more than six are hard to distinguish.
        is_log: Whether x is logarithmic; zero is then drawn to the left of the smallest positive value.
        level: Name and value of a horizontal line, such as the reference.
        as_bars: Whether the intervals are drawn as bars at the points instead of as bands.
    """
    figure, (axes,) = new_figure(1, WIDTH_INCH, 2.9)
    if level is not None:
        axes.axhline(level[1], color=INK, linewidth=1, linestyle=(0, (4, 3)), alpha=0.7, label=visible(level[0]))
    for at, band in enumerate(bands):
        _draw_band(axes, at, band, as_bars=as_bars)
    if is_log:
        make_logarithmic(axes, [x for band in bands for x in band.xs])
    elif x_name == "epoch":
        tick_at_integers(axes)
    dress(axes, x_name, y_name)
    if level is not None or any(band.label for band in bands):
        legend_below(figure, axes)
    return figure


def _draw_band(axes: Axes, at: int, band: Band, *, as_bars: bool) -> None:
    color, dashes = COLORS[at % len(COLORS)], DASHES[at % len(DASHES)]
    if as_bars:
        axes.vlines(band.xs, band.low, band.high, color=color, linewidth=2, alpha=0.45)
    else:
        axes.fill_between(band.xs, band.low, band.high, color=color, alpha=0.18, linewidth=0)
    marker = MARKERS[at % len(MARKERS)] if len(band.xs) <= MOST_MARKED_POINTS else None
    axes.plot(
        band.xs,
        band.mean,
        color=color,
        linewidth=1.8,
        linestyle=dashes,
        marker=marker,
        markersize=4,
        label=visible(band.label),
    )
    if band.best is not None:
        x, y = band.xs[band.best], band.mean[band.best]
        axes.plot([x], [y], marker="o", markersize=11, markerfacecolor="none", markeredgecolor=INK, linestyle="none")


def lines_figure(panels: Mapping[str, Mapping[str, Sequence[float]]], xs: Sequence[float]) -> Figure:
    """Returns a figure with a panel for each quantity and a line for each name, such as functions and derivatives.

    Args:
        panels: Name of the quantity -> name of the line -> its values at `xs`; NaN leaves a gap.
        xs: Where, ascending.
    """
    figure, all_axes = new_figure(len(panels), 5.2, 3.8)
    for axes, (quantity, lines) in zip(all_axes, panels.items(), strict=True):
        for at, (name, values) in enumerate(lines.items()):
            dashes = DASHES[at // len(COLORS) % len(DASHES)]
            axes.plot(xs, values, color=COLORS[at % len(COLORS)], linestyle=dashes, linewidth=1.8, label=visible(name))
        dress(axes, "x", quantity)
        legend = axes.legend(frameon=False, labelcolor=INK, fontsize=FONT_SIZE)
        for text in legend.get_texts():
            text.set_parse_math(False)
    return figure
