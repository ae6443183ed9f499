"""Draws figures with matplotlib's object interface (no global figure, no display); the only module that imports it.

This module is imported when the first figure is drawn, because the import takes a quarter of a second.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from io import BytesIO, StringIO
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure

DPI = 120
MOST_NUMBERED_CLASSES = 20
"""From this number of classes on, the cells are too small for numbers."""

MOST_LETTERS = 24
"""Longer class names are shortened."""

MOST_ROW_LETTERS = 34
MOST_MARKED_POINTS = 24
"""Curves with more points have no dots."""

_COLORS = {"train": "#0072b2", "valid": "#d55e00", "test": "#009e73"}
"""From Okabe and Ito 2008: distinguishable with any colour vision."""

_CYCLE = ("#0072b2", "#d55e00", "#009e73", "#cc79a7", "#e69f00", "#56b4e9")
_DASHES = ("-", "--", ":", "-.")
"""More lines than colours are told apart by these."""

_INK = "#2f3437"
"""Colour of text and axes; in an SVG it is replaced by the colour of the page's text."""

_SVG_BLUE = f"var(--figure-blue, {_CYCLE[0]})"
"""A page in dark mode can lighten it."""

History = Mapping[str, Sequence[tuple[float, float]]]
"""Metric name, such as `train/loss` -> points (epoch, value)."""


@dataclass(frozen=True, kw_only=True)
class Band:
    """A line with a band, or dots with intervals.

    Args:
        label: Its label.
        xs: Positions `(n,)`: ascending numbers, or row numbers.
        mean: Values `(n,)`; NaN and infinite ones are not drawn.
        low: Lower ends `(n,)`; NaN without an interval.
        high: Upper ends `(n,)`.
    """

    label: str
    xs: Sequence[float]
    mean: Sequence[float]
    low: Sequence[float]
    high: Sequence[float]


def bands_figure(x_name: str, y_name: str, bands: Sequence[Band], *, is_log: bool = False) -> Figure:
    """Returns a figure of lines with bands: a metric against a strength, or against the epoch.

    Args:
        x_name: Name of the x axis.
        y_name: Name of the metric.
        bands: One for each line; more than six are hard to distinguish.
        is_log: Whether x is logarithmic; zero is then drawn to the left of the smallest positive value.
    """
    figure, (axes,) = _figure(1, 5.2, 3.3)
    for at, band in enumerate(bands):
        color = _CYCLE[at % len(_CYCLE)]
        marker = "o" if len(band.xs) <= MOST_MARKED_POINTS else None
        axes.fill_between(band.xs, band.low, band.high, color=color, alpha=0.2, linewidth=0)
        # A leading underscore would remove the line from the legend.
        label = (
            f" {_shorten(band.label, MOST_ROW_LETTERS)}"
            if band.label.startswith("_")
            else _shorten(band.label, MOST_ROW_LETTERS)
        )
        axes.plot(band.xs, band.mean, color=color, linewidth=1.8, marker=marker, markersize=4, label=label)
    if is_log:
        _make_logarithmic(axes, [x for band in bands for x in band.xs])
    elif x_name == "epoch":
        _tick_at_integers(axes)
    _dress(axes, x_name, y_name)
    if len(bands) > 1 or (bands and bands[0].label):
        _legend(axes)
    return figure


def rows_figure(x_name: str, labels: Sequence[str], rows: Band, *, zero: str = "") -> Figure:
    """Returns a figure of a dot with its interval for each row: means of settings, or differences (a forest plot).

    Args:
        x_name: Name of the x axis.
        labels: One for each row, from the top.
        rows: `mean`, `low` and `high` by row; `xs` is not used.
        zero: Label of a line at zero; empty for no line.
    """
    figure, (axes,) = _figure(1, 5.2, 1.1 + 0.3 * max(1, len(labels)))
    at = np.arange(len(labels))
    mean, low, high = (np.asarray(values, dtype=np.float64) for values in (rows.mean, rows.low, rows.high))
    if zero:
        axes.axvline(0, color=_INK, linewidth=1, linestyle=(0, (4, 3)), alpha=0.7)
        axes.set_title(zero, fontsize=9, color=_INK, parse_math=False)
    axes.hlines(at, low, high, color=_CYCLE[0], linewidth=2, alpha=0.55)
    axes.plot(mean, at, "o", color=_CYCLE[0], markersize=6)
    _dress(axes, x_name, "")
    axes.set_yticks(at, [_shorten(label, MOST_ROW_LETTERS) for label in labels], parse_math=False)
    axes.set_ylim(len(labels) - 0.4, -0.6)
    return figure


def lines_figure(panels: Mapping[str, Mapping[str, Sequence[float]]], xs: Sequence[float]) -> Figure:
    """Returns a figure with a panel for each quantity and a line for each name, such as functions and derivatives.

    Args:
        panels: Name of the quantity -> name of the line -> its values at `xs`; NaN leaves a gap.
        xs: Where, ascending.
    """
    figure, all_axes = _figure(len(panels), 5.2, 3.8)
    for axes, (quantity, lines) in zip(all_axes, panels.items(), strict=True):
        for at, (name, values) in enumerate(lines.items()):
            dashes = _DASHES[at // len(_CYCLE) % len(_DASHES)]
            axes.plot(xs, values, color=_CYCLE[at % len(_CYCLE)], linestyle=dashes, linewidth=1.8, label=name)
        _dress(axes, "x", quantity)
        _legend(axes)
    return figure


def strength_png(
    axis_name: str,
    metric: str,
    xs: Sequence[float],
    mean: Sequence[float],
    low: Sequence[float],
    high: Sequence[float],
    *,
    is_log: bool = False,
) -> bytes:
    """Returns a figure of a metric against one strength, with its band over seeds.

    Args:
        axis_name: Name of the strength.
        metric: Name of the metric.
        xs: Strengths, ascending `(n,)`.
        mean: Means `(n,)`.
        low: Lower ends of the band `(n,)`; NaN without a band.
        high: Upper ends of the band `(n,)`.
        is_log: Whether the strengths are spaced by factors; zero may be among them.
    """
    return png(bands_figure(axis_name, metric, [Band(label="", xs=xs, mean=mean, low=low, high=high)], is_log=is_log))


def png(figure: Figure) -> bytes:
    """Returns a figure as PNG."""
    return _png(figure)


def svg(figure: Figure) -> str:
    """Returns a figure as an `<svg>` for an HTML page, in the page's text colour and on its background.

    Labels are text in the page's font, so that they can be searched and read aloud.
    """
    from matplotlib import rc_context

    figure.patch.set_alpha(0)
    for axes in figure.axes:
        axes.patch.set_alpha(0)
    text = StringIO()
    # A fixed salt makes the output reproducible.
    with rc_context({"svg.fonttype": "none", "svg.hashsalt": "regplug"}):
        figure.savefig(text, format="svg", metadata={"Date": None, "Creator": None, "Format": None, "Type": None})
    drawn = text.getvalue()
    return drawn[drawn.index("<svg") :].replace(_INK, "currentColor").replace(_CYCLE[0], _SVG_BLUE)


def _make_logarithmic(axes: Axes, xs: Sequence[float]) -> None:
    positive = [x for x in xs if x > 0]
    if len(positive) == len(xs):
        axes.set_xscale("log")
    elif positive:
        axes.set_xscale("symlog", linthresh=min(positive), linscale=0.5)


def _dress(axes: Axes, x_name: str, y_name: str) -> None:
    axes.set_xlabel(x_name, color=_INK, parse_math=False)
    axes.set_ylabel(y_name, color=_INK, parse_math=False)
    axes.tick_params(which="both", color=_INK, labelcolor=_INK)
    axes.grid(alpha=0.15, color=_INK)
    axes.spines[["top", "right"]].set_visible(False)
    axes.spines[["left", "bottom"]].set_color(_INK)


def _legend(axes: Axes) -> None:
    legend = axes.legend(frameon=False, labelcolor=_INK, fontsize=9)
    for text in legend.get_texts():
        text.set_parse_math(False)


def confusion_matrix_png(matrix: NDArray[np.int64], class_names: Sequence[str] = ()) -> bytes:
    """Returns a figure of a confusion matrix: counts, coloured by their share of the row.

    Args:
        matrix: Counts `(K, K)`: true class down, predicted class across.
        class_names: One for each class; by default the class numbers.
    """
    num_classes = len(matrix)
    names = [_shorten(name) for name in class_names] or [str(label) for label in range(num_classes)]
    # A class without a row keeps share 0 instead of dividing by zero.
    share = matrix / np.maximum(matrix.sum(axis=1, keepdims=True), 1)
    side_inch = min(max(3.2, 1.6 + 0.45 * num_classes), 10)
    figure, (axes,) = _figure(1, side_inch + 0.9, side_inch)
    image = axes.imshow(share, cmap="Blues", vmin=0, vmax=1)
    if num_classes <= MOST_NUMBERED_CLASSES:
        _write_counts(axes, matrix, share)
    step = max(1, num_classes // MOST_NUMBERED_CLASSES)
    ticks = range(0, num_classes, step)
    is_long = max(len(name) for name in names) > 3
    # A class may be called "$5 to $9", which must not be parsed as a formula.
    axes.set_xticks(
        ticks, names[::step], rotation=45 if is_long else 0, ha="right" if is_long else "center", parse_math=False
    )
    axes.set_yticks(ticks, names[::step], parse_math=False)
    axes.set(xlabel="predicted class", ylabel="true class")
    figure.colorbar(image, ax=axes, label="share of the true class", shrink=0.8)
    return _png(figure)


def curves_png(history: History) -> bytes:
    """Returns a figure of metrics over epochs: a panel for each quantity, a line for each split.

    `train/running_loss` is drawn dashed in the panel of `train/loss`. A metric without a split, such as `norm/weight`,
    has its own panel. The axis is logarithmic if positive values span a factor of 50. Metrics with a single value are
    left out if there are others.

    Args:
        history: Points (epoch, value) by metric name; names without a point are left out.
    """
    panels: dict[str, History] = {}
    for name, points in history.items():
        if points:
            panel = _panel(name)
            panels[panel] = {**panels.get(panel, {}), name: points}
    curves = {name: lines for name, lines in panels.items() if max(map(len, lines.values())) > 1} or panels
    # Without points there is one empty panel.
    figure, all_axes = _figure(max(1, len(curves)), 4.4, 3.4)
    for axes, (panel, lines) in zip(all_axes, curves.items(), strict=False):
        _draw_panel(axes, panel, lines)
    return _png(figure)


def _panel(name: str) -> str:
    split, _, quantity = name.rpartition("/")
    return quantity.removeprefix("running_").replace("_", " ") if split in _COLORS else name


def _draw_panel(axes: Axes, panel: str, lines: History) -> None:
    for name, points in lines.items():
        _draw_line(axes, name, points)
    finite = [value for points in lines.values() for _, value in points if np.isfinite(value)]
    if finite and min(finite) > 0 and max(finite) > 50 * min(finite):
        axes.set_yscale("log")
    axes.set(title=panel, xlabel="epoch")
    _tick_at_integers(axes)
    axes.grid(alpha=0.25)
    axes.spines[["top", "right"]].set_visible(False)
    if panel not in lines:
        axes.legend(frameon=False)


def _draw_line(axes: Axes, name: str, points: Sequence[tuple[float, float]]) -> None:
    split, _, quantity = name.rpartition("/")
    is_running = quantity.startswith("running_")
    epochs, values = zip(*points, strict=True)
    axes.plot(
        epochs,
        values,
        color=_COLORS.get(split, "#444444"),
        linestyle="--" if is_running else "-",
        linewidth=1.2 if is_running else 1.8,
        marker="o" if len(points) == 1 else None,
        label=f"{split} (running)" if is_running else split,
    )


def _shorten(name: str, most: int = MOST_LETTERS) -> str:
    return name if len(name) <= most else f"{name[: most - 1]}…"


def _write_counts(axes: Axes, matrix: NDArray[np.int64], share: NDArray[Any]) -> None:
    for (row, column), count in np.ndenumerate(matrix):
        if count:
            color = "white" if share[row, column] > 0.5 else "black"
            axes.text(column, row, str(count), ha="center", va="center", color=color, fontsize=8)


def _tick_at_integers(axes: Axes) -> None:
    from matplotlib.ticker import MaxNLocator

    axes.xaxis.set_major_locator(MaxNLocator(integer=True, min_n_ticks=1))


def _figure(num_panels: int, width_inch: float, height_inch: float) -> tuple[Figure, list[Axes]]:
    """Returns a figure of panels of that size, up to three in a row; four form two rows of two."""
    from matplotlib.backends.backend_agg import FigureCanvasAgg
    from matplotlib.figure import Figure

    columns = 2 if num_panels == 4 else min(3, num_panels)
    rows = -(-num_panels // columns)
    figure = Figure(figsize=(width_inch * columns, height_inch * rows), dpi=DPI, layout="constrained")
    FigureCanvasAgg(figure)
    panels = list(figure.subplots(rows, columns, squeeze=False).ravel())
    for axes in panels[num_panels:]:
        axes.remove()
    return figure, panels[:num_panels]


def _png(figure: Figure) -> bytes:
    buffer = BytesIO()
    # No metadata, so that the same numbers give the same bytes.
    figure.savefig(buffer, format="png", metadata={"Software": None})
    return buffer.getvalue()
