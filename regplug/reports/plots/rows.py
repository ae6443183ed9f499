"""Figures with a row for each setting: means, differences from a reference, ranks."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Literal

from regplug.reports.plots.style import BLUE, FONT_SIZE, GREEN, INK, PAPER, RED, WIDTH_INCH, dress, new_figure, wrapped

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure

LINE_INCH = 0.165
ROW_INCH = 0.26
NAME_GAP_INCH = 0.085
"""Between a name and its row: closer than the next name."""

MOST_TICK_LETTERS = 16
"""Longer names are drawn above their rows, where they have the whole width."""

_STYLES = {
    "plain": (BLUE, "o", BLUE),
    "better": (GREEN, "o", GREEN),
    "worse": (RED, "s", RED),
    "open": (BLUE, "o", PAPER),
}
"""Colour, marker and filling: in grey, they differ by form and filling."""


@dataclass(frozen=True, kw_only=True)
class Row:
    """A dot with an interval.

    Args:
        label: Its name.
        mean: Where the dot is.
        low: Lower end of the interval; NaN without one.
        high: Upper end.
        style: `plain`, `better`, `worse`, or `open` for a difference that was not detected.
    """

    label: str
    mean: float
    low: float
    high: float
    style: Literal["plain", "better", "worse", "open"] = "plain"


def rows_figure(x_name: str, rows: Sequence[Row], *, zero: str = "") -> Figure:
    """Returns a figure of a dot with its interval for each row: means of settings, or differences (a forest plot).

    Args:
        x_name: Name of the x axis.
        rows: From the top.
        zero: Label of a line at zero; empty for no line.
    """
    figure, axes, places = named_rows([row.label for row in rows], extra_inch=0.2 if zero else 0.0)
    if zero:
        axes.axvline(0, color=INK, linewidth=1, linestyle=(0, (4, 3)), alpha=0.7)
        axes.set_title(zero, fontsize=FONT_SIZE, color=INK, parse_math=False)
    for row, at in zip(rows, places, strict=True):
        color, marker, fill = _STYLES[row.style]
        axes.hlines([at], [row.low], [row.high], color=color, linewidth=2)
        axes.plot([row.mean], [at], marker, color=color, markerfacecolor=fill, markeredgewidth=1.5, markersize=6)
    dress(axes, x_name, "")
    return figure


def named_rows(labels: Sequence[str], *, extra_inch: float = 0.0) -> tuple[Figure, Axes, list[float]]:
    """Returns a figure with a named row for each label, and where the rows are on the y axis.

    Args:
        labels: From the top. Short ones are beside the axis, long ones above their rows.
        extra_inch: Height to add, such as for a title.
    """
    is_short = all(len(label) <= MOST_TICK_LETTERS for label in labels)
    names = [wrapped(label) for label in labels]
    heads = [0.0 if is_short else LINE_INCH * (name.count("\n") + 1) for name in names]
    tops, places, at = [], [], 0.05
    for head in heads:
        tops.append(at)
        places.append(at + head + (ROW_INCH / 2 if is_short else NAME_GAP_INCH))
        at += head + ROW_INCH
    figure, (axes,) = new_figure(1, WIDTH_INCH, at + 0.65 + extra_inch)
    axes.set_ylim(at, 0)
    axes.set_yticks(places if is_short else [], labels if is_short else [], parse_math=False)
    if not is_short:
        axes.spines["left"].set_visible(False)
        for name, top in zip(names, tops, strict=True):
            # A box in the page's colour keeps the grid out of the name.
            box = {"facecolor": PAPER, "edgecolor": "none", "pad": 0.6}
            axes.text(
                0,
                top,
                name,
                transform=axes.get_yaxis_transform(),
                va="top",
                color=INK,
                fontsize=FONT_SIZE,
                parse_math=False,
                bbox=box,
            )
    return figure, axes, places
