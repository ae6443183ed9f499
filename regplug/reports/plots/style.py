"""The style that all figures share: colours, markers, axes, and names that are wrapped instead of cut."""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure

DPI = 120
WIDTH_INCH = 4.4
"""Width of a figure; with it, text is readable on a phone and no larger than the page's on a wide screen."""

COLORS = ("#0072b2", "#d55e00", "#009e73", "#cc79a7", "#e69f00", "#56b4e9")
"""From Okabe and Ito 2008: distinguishable with any colour vision. Markers and dashes tell lines apart in grey."""

BLUE, RED, GREEN = COLORS[:3]
MARKERS = ("o", "s", "^", "D", "v", "P")
DASHES = ("-", "--", ":", "-.")

INK = "#2f3437"
"""Colour of text and axes; in an SVG it is replaced by the colour of the page's text."""

PAPER = "#fdfdfd"
"""Colour inside hollow markers; in an SVG it is replaced by the colour of the page's card."""

FONT_SIZE = 9
MOST_TICKS = 8
"""Most values of a strength that are all written at its axis."""

MOST_LINE_LETTERS = 50
"""Letters of a name that fit across a figure."""

_LINES = re.compile(r"(?<=[+, ])")
_PARTS = re.compile(r"(?<=[+,/ :=])")


def get_ready() -> None:
    """Imports what the first figure needs."""
    new_figure(1, WIDTH_INCH, WIDTH_INCH)


def wrapped(name: str, most: int = MOST_LINE_LETTERS) -> str:
    """Returns a name on as many lines as it needs, broken between its parts if that is possible.

    Args:
        name: Such as `dropout:drop_probability=0.2+l2:strength=0.1`.
        most: Most letters on a line.

    >>> wrapped("dropout:drop_probability=0.2+l2:strength=0.1", 30).splitlines()
    ['dropout:drop_probability=0.2+', 'l2:strength=0.1']
    """
    lines = [""]
    for part in _LINES.split(name):
        for piece in [part] if len(part) <= most else _PARTS.split(part):
            if lines[-1] and len(lines[-1]) + len(piece.rstrip()) > most:
                lines.append("")
            lines[-1] += piece
            while len(lines[-1]) > most:
                lines[-1:] = [lines[-1][:most], lines[-1][most:]]
    return "\n".join(line.strip() for line in lines if line.strip()) or name


def new_figure(num_panels: int, width_inch: float, height_inch: float) -> tuple[Figure, list[Axes]]:
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


def dress(axes: Axes, x_name: str, y_name: str) -> None:
    """Names the axes and draws them in the shared style."""
    axes.set_xlabel(wrapped(x_name), color=INK, fontsize=FONT_SIZE, parse_math=False)
    axes.set_ylabel(wrapped(y_name, 40), color=INK, fontsize=FONT_SIZE, parse_math=False)
    axes.tick_params(which="both", color=INK, labelcolor=INK, labelsize=FONT_SIZE)
    axes.grid(alpha=0.15, color=INK)
    axes.set_axisbelow(True)
    axes.spines[["top", "right"]].set_visible(False)
    axes.spines[["left", "bottom"]].set_color(INK)


def legend_below(figure: Figure, axes: Axes, entries: Mapping[str, Any] | None = None) -> None:
    """Puts the names of the lines below the figure, where long ones have room.

    Args:
        figure: The figure.
        axes: The axes with the lines.
        entries: Handle by label; by default those of the axes.
    """
    handles, labels = axes.get_legend_handles_labels() if entries is None else (list(entries.values()), list(entries))
    names = [wrapped(label, MOST_LINE_LETTERS - 6) for label in labels]
    is_short = max(map(len, names), default=0) <= 18
    legend = figure.legend(
        handles,
        names,
        loc="outside lower left",
        ncols=2 if is_short else 1,
        frameon=False,
        labelcolor=INK,
        fontsize=FONT_SIZE,
        handlelength=3,
    )
    lines = sum(name.count("\n") + 1 for name in names) / (2 if is_short else 1)
    figure.set_figheight(figure.get_figheight() + 0.17 * lines)
    for text in legend.get_texts():
        text.set_parse_math(False)


def visible(label: str) -> str:
    """Returns a label that appears in the legend: a leading underscore would hide it."""
    return f" {label}" if label.startswith("_") else label


def tick_at_integers(axes: Axes) -> None:
    """Puts the ticks of x at round integers, no more of them than have room."""
    from matplotlib.ticker import MaxNLocator

    axes.xaxis.set_major_locator(MaxNLocator("auto", integer=True, min_n_ticks=1, steps=[1, 2, 5, 10]))


def make_logarithmic(axes: Axes, xs: Sequence[float]) -> None:
    """Makes x logarithmic, with ticks at the values; zero is drawn to the left of the smallest positive value."""
    positive = [x for x in xs if x > 0]
    if len(positive) == len(xs):
        axes.set_xscale("log")
    elif positive:
        axes.set_xscale("symlog", linthresh=min(positive), linscale=0.5)
        # The limits may have been fitted on a linear scale, which symlog keeps.
        axes.autoscale(axis="x")
    values = sorted(set(xs))
    if len(values) <= MOST_TICKS:
        axes.set_xticks(values, [f"{x:.4g}" for x in values], parse_math=False)
        axes.set_xticks([], minor=True)
