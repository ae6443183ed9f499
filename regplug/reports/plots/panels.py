"""Figures of a textbook's experiments: panels of lines with bands, histograms, and values beside a reference."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray

from regplug.reports.plots.lines import MOST_MARKED_POINTS, Band
from regplug.reports.plots.rows import named_rows
from regplug.reports.plots.style import (
    BLUE,
    COLORS,
    DASHES,
    FONT_SIZE,
    INK,
    MARKERS,
    PAPER,
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

PANEL_INCH = (3.7, 2.8)
"""Width and height of a panel."""


@dataclass(frozen=True, kw_only=True)
class Dots:
    """Single points, such as the training data.

    Args:
        label: Their label.
        xs: Positions across.
        ys: Positions up.
    """

    label: str
    xs: Sequence[float]
    ys: Sequence[float]


@dataclass(frozen=True, kw_only=True)
class Panel:
    """A panel of lines.

    Args:
        title: Its heading; may be empty.
        x_name: Name of the x axis; `epoch` and `layer` have ticks at integers.
        y_name: Name of the y axis.
        lines: The lines; colour, dashes and marker go by their order, so give the same order in each panel.
        dots: Single points.
        levels: Name and value of horizontal lines.
        is_log_x: Whether x is logarithmic.
        is_log_y: Whether y is logarithmic.
        y_limits: Lower and upper end of the y axis; `None` fits them.
    """

    title: str = ""
    x_name: str
    y_name: str
    lines: Sequence[Band] = ()
    dots: Sequence[Dots] = ()
    levels: Sequence[tuple[str, float]] = ()
    is_log_x: bool = False
    is_log_y: bool = False
    y_limits: tuple[float, float] | None = None


def panels_figure(panels: Sequence[Panel]) -> Figure:
    """Returns a figure of panels of lines, with one legend below."""
    figure, all_axes = new_figure(len(panels), *PANEL_INCH)
    for axes, panel in zip(all_axes, panels, strict=True):
        _draw(axes, panel)
    _shared_legend(figure, all_axes)
    return figure


def _draw(axes: Axes, panel: Panel) -> None:
    for each in panel.dots:
        axes.plot(each.xs, each.ys, "x", color=INK, markersize=5, markeredgewidth=1.4, label=visible(each.label))
    for name, value in panel.levels:
        axes.axhline(value, color=INK, linewidth=1, linestyle=(0, (4, 3)), alpha=0.7, label=visible(name))
    for at, line in enumerate(panel.lines):
        _draw_line(axes, at, line)
    if panel.is_log_y:
        axes.set_yscale("log")
    if panel.is_log_x:
        make_logarithmic(axes, [x for line in panel.lines for x in line.xs])
    elif panel.x_name in ("epoch", "layer"):
        tick_at_integers(axes)
    if panel.y_limits is not None:
        axes.set_ylim(*panel.y_limits)
    dress(axes, panel.x_name, panel.y_name)
    _title(axes, panel.title)


def _draw_line(axes: Axes, at: int, line: Band) -> None:
    color = COLORS[at % len(COLORS)]
    axes.fill_between(line.xs, line.low, line.high, color=color, alpha=0.18, linewidth=0)
    is_dense = len(line.xs) > MOST_MARKED_POINTS
    axes.plot(
        line.xs,
        line.mean,
        color=color,
        linewidth=1.7,
        linestyle=DASHES[at % len(DASHES)],
        marker=None if len(line.xs) > 20 * MOST_MARKED_POINTS else MARKERS[at % len(MARKERS)],
        markersize=4,
        # Markers at different places, so that lines that coincide remain visible.
        markevery=(at * len(line.xs) // 40, max(1, len(line.xs) // 8)) if is_dense else None,
        label=visible(line.label),
    )


@dataclass(frozen=True, kw_only=True)
class HistogramPanel:
    """A panel of histograms with the same bins.

    Args:
        title: Its heading; may be empty.
        x_name: Name of the values.
        values: Label and values of each histogram.
        is_log_y: Whether the counts are logarithmic.
        limits: Least and greatest value that is shown; `None` for all.
    """

    title: str = ""
    x_name: str
    values: Sequence[tuple[str, NDArray[np.float64]]]
    is_log_y: bool = False
    limits: tuple[float, float] | None = None


def histograms_figure(panels: Sequence[HistogramPanel], *, bins: int = 50) -> Figure:
    """Returns a figure of panels of histograms, drawn as outlines, with one legend below."""
    figure, all_axes = new_figure(len(panels), *PANEL_INCH)
    for axes, panel in zip(all_axes, panels, strict=True):
        everything = np.concatenate([values.ravel() for _, values in panel.values])
        limits = panel.limits or (float(everything.min()), float(everything.max()))
        edges = np.linspace(*limits, bins + 1)
        for at, (label, values) in enumerate(panel.values):
            share, _ = np.histogram(values, edges)
            axes.stairs(
                share / max(1, values.size),
                edges,
                color=COLORS[at % len(COLORS)],
                linestyle=DASHES[at % len(DASHES)],
                linewidth=1.7,
                label=visible(label),
            )
        if panel.is_log_y:
            axes.set_yscale("log")
        dress(axes, panel.x_name, "share")
        _title(axes, panel.title)
    _shared_legend(figure, all_axes)
    return figure


@dataclass(frozen=True, kw_only=True)
class Spread:
    """One quantity over seeds, and the range of a reference.

    Args:
        label: Its name.
        values: One for each seed.
        interval: 95 % interval of the mean; `None` without one.
        reference: Least and greatest value of the reference; `None` without one.
    """

    label: str
    values: Sequence[float]
    interval: tuple[float, float] | None = None
    reference: tuple[float, float] | None = None


def spreads_figure(x_name: str, spreads: Sequence[Spread], *, is_log: bool = False) -> Figure:
    """Returns a figure with a row for each quantity: seeds as dots, mean with interval, the reference's range as a bar.

    Args:
        x_name: Name of the x axis.
        spreads: From the top.
        is_log: Whether x is logarithmic.
    """
    figure, axes, places = named_rows([spread.label for spread in spreads])
    axes.use_sticky_edges = False  # so that a bar does not touch the axis
    for spread, at in zip(spreads, places, strict=True):
        _draw_spread(axes, spread, at)
    if is_log:
        axes.set_xscale("log")
    dress(axes, x_name, "")
    _shared_legend(figure, [axes])
    return figure


def _draw_spread(axes: Axes, spread: Spread, at: float) -> None:
    if spread.reference is not None:
        axes.barh(
            at,
            spread.reference[1] - spread.reference[0],
            left=spread.reference[0],
            height=0.2,
            color="#d7dadc",
            edgecolor="#8a8f93",
            linewidth=0.8,
            label="range of the reference",
        )
    axes.plot(spread.values, [at] * len(spread.values), "|", color=INK, markersize=7, alpha=0.7, label="a seed")
    known = [value for value in spread.values if np.isfinite(value)]
    if not known:
        return
    if spread.interval is not None:
        axes.hlines([at], *spread.interval, color=BLUE, linewidth=2.5, label="95 % interval of the mean")
    axes.plot(
        [float(np.mean(known))],
        [at],
        "o",
        color=BLUE,
        markerfacecolor=PAPER,
        markeredgewidth=1.5,
        markersize=5,
        linestyle="none",
        label="mean",
    )


def _title(axes: Axes, title: str) -> None:
    if title:
        axes.set_title(title, fontsize=FONT_SIZE, color=INK, parse_math=False)


def _shared_legend(figure: Figure, all_axes: Sequence[Axes]) -> None:
    """Puts one legend below, with each label once; none for a single unnamed line."""
    seen: dict[str, Any] = {}
    for axes in all_axes:
        for handle, label in zip(*axes.get_legend_handles_labels(), strict=True):
            if label.strip() and label not in seen:
                seen[label] = handle
    if seen:
        legend_below(figure, all_axes[0], seen)
