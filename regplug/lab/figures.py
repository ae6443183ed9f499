"""Figures of a study, in one style that is readable in grey. Each function returns a drawing; nothing is drawn yet."""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping, Sequence
from dataclasses import replace
from functools import partial
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray

from regplug.reports import plots
from regplug.reports.curves import Curve, mean_curve
from regplug.reports.drawing import Drawing
from regplug.reports.plots import Band, Dots, HistogramPanel, Panel, Spread
from regplug.statistics import t_interval

if TYPE_CHECKING:
    from matplotlib.figure import Figure

__all__ = ["Dots", "Drawing", "curves", "functions", "histograms", "panels", "series", "spreads"]


def curves(
    name: str, title: str, caption: str, lines: Mapping[str, Mapping[str, Sequence[Curve]]], *, log: bool = False
) -> Drawing:
    """Returns learning curves: the mean over seeds, plus and minus one standard deviation; of logarithms if `log`.

    Args:
        name: Name of the figure and of its files.
        title: Its heading.
        caption: What it shows.
        lines: Metric, which names the y axis -> label -> curves of `Runs.curves`, one for each seed. A panel for each
            metric; `metric | title` gives a panel a heading.
        log: Whether y is logarithmic.
    """
    made = [
        Panel(
            title=heading.strip(),
            x_name="epoch",
            y_name=metric.strip(),
            lines=[_mean_curve(label, each, log=log) for label, each in by_label.items()],
            is_log_y=log,
        )
        for key, by_label in lines.items()
        for metric, _, heading in [key.partition("|")]
    ]
    return panels(name, title, caption, made)


def series(
    name: str,
    title: str,
    caption: str,
    xs: Sequence[float] | NDArray[np.float64],
    lines: Mapping[str, Mapping[str, Any]],
    *,
    x_name: str,
    log_x: bool = False,
    log_y: bool = False,
    levels: Sequence[tuple[str, float]] = (),
    dots: Sequence[Dots] = (),
    y_limits: tuple[float, float] | None = None,
) -> Drawing:
    """Returns values at the same positions: by layer, by width, by strength, or functions of x.

    Args:
        name: Name of the figure and of its files.
        title: Its heading.
        caption: What it shows.
        xs: Positions `(n,)`, ascending, such as the numbers of the layers.
        lines: Name of the y axis -> label -> values `(n,)`, or `(seeds, n)`, which are drawn as their mean with the
            range of the seeds. A panel for each; `name | title` gives a panel a heading.
        x_name: Name of the x axis.
        log_x: Whether x is logarithmic.
        log_y: Whether y is logarithmic; values over seeds are then averaged as logarithms.
        levels: Name and value of horizontal lines.
        dots: Single points in every panel.
        y_limits: Ends of the y axis; `None` fits them.
    """
    made = [
        Panel(
            title=heading.strip(),
            x_name=x_name,
            y_name=y_name.strip(),
            lines=[_band(label, xs, values, log=log_y) for label, values in by_label.items()],
            dots=dots,
            levels=levels,
            is_log_x=log_x,
            is_log_y=log_y,
            y_limits=y_limits,
        )
        for key, by_label in lines.items()
        for y_name, _, heading in [key.partition("|")]
    ]
    return panels(name, title, caption, made)


functions = partial(series, x_name="x")
"""`series` of functions of x."""


def panels(name: str, title: str, caption: str, made: Sequence[Panel]) -> Drawing:
    """Returns panels that were made by hand, for what the other functions do not offer.

    Args:
        name: Name of the figure and of its files.
        title: Its heading.
        caption: What it shows.
        made: The panels.
    """
    return _drawing(name, title, caption, lambda: plots.panels_figure(made))


def histograms(
    name: str,
    title: str,
    caption: str,
    values: Mapping[str, Mapping[str, Any]],
    *,
    bins: int = 50,
    log: bool = False,
    limits: tuple[float, float] | None = None,
) -> Drawing:
    """Returns histograms over the same bins, as shares.

    Args:
        name: Name of the figure and of its files.
        title: Its heading.
        caption: What it shows.
        values: Name of the x axis -> label -> values of any shape. A panel for each; `name | title` gives a heading.
        bins: Number of bins.
        log: Whether the shares are logarithmic.
        limits: Least and greatest value that is shown; `None` for all.
    """
    made = [
        HistogramPanel(
            title=heading.strip(),
            x_name=x_name.strip(),
            values=[(label, np.asarray(each, np.float64).ravel()) for label, each in by_label.items()],
            is_log_y=log,
            limits=limits,
        )
        for key, by_label in values.items()
        for x_name, _, heading in [key.partition("|")]
    ]
    return _drawing(name, title, caption, lambda: plots.histograms_figure(made, bins=bins))


def spreads(
    name: str,
    title: str,
    caption: str,
    values: Mapping[str, Sequence[float]],
    *,
    x_name: str,
    references: Mapping[str, tuple[float, float]] | None = None,
    log: bool = False,
) -> Drawing:
    """Returns a row for each quantity: its seeds, their mean with a 95 % interval, and the range of a reference.

    Args:
        name: Name of the figure and of its files.
        title: Its heading.
        caption: What it shows.
        values: Label -> one value for each seed; values that are not finite are left out.
        x_name: Name of the x axis.
        references: Label -> least and greatest value of the reference.
        log: Whether x is logarithmic.
    """
    known = references or {}
    rows = [
        Spread(
            label=label,
            values=list(each),
            interval=t_interval(np.asarray([value for value in each if math.isfinite(value)], np.float64)),
            reference=known.get(label),
        )
        for label, each in values.items()
    ]
    return _drawing(name, title, caption, lambda: plots.spreads_figure(x_name, rows, is_log=log))


def _mean_curve(label: str, each: Sequence[Curve], *, log: bool) -> Band:
    if not log:
        return mean_curve(label, each)
    logs = [[(epoch, math.log(value) if value > 0 else math.nan) for epoch, value in curve] for curve in each]
    band = mean_curve(label, logs)
    mean, low, high = (list(np.exp(values)) for values in (band.mean, band.low, band.high))
    return replace(band, mean=mean, low=low, high=high)


def _band(label: str, xs: Sequence[float] | NDArray[np.float64], values: Any, *, log: bool) -> Band:
    given = np.asarray(values, np.float64)
    y_SN = given[None] if given.ndim == 1 else given
    if y_SN.shape[1] != len(xs):
        raise ValueError(f"{label}: {y_SN.shape[1]} values for {len(xs)} positions")
    if log:
        with np.errstate(divide="ignore", invalid="ignore"):
            mean = np.exp(np.log(y_SN).mean(axis=0))
    else:
        mean = y_SN.mean(axis=0)
    # One series has no band.
    low, high = (y_SN.min(axis=0), y_SN.max(axis=0)) if len(y_SN) > 1 else (mean, mean)
    return Band(label=label, xs=list(xs), mean=list(mean), low=list(low), high=list(high))


def _drawing(name: str, title: str, caption: str, draw: Callable[[], Figure]) -> Drawing:
    return Drawing(name=name, title=title, caption=caption, draw=draw)
