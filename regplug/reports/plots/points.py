"""Figures of numbered points: a setting's performance against its gap or its cost."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np
from numpy.typing import NDArray

from regplug.reports.plots.style import BLUE, FONT_SIZE, INK, PAPER, WIDTH_INCH, dress, new_figure

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure

_OFFSETS = ((7, 0), (-7, 0), (0, 8), (0, -8), (7, 8), (-7, 8), (7, -8), (-7, -8), (16, 0), (-16, 0), (0, 18), (0, -18))
"""Where a number may stand beside its point, in points, in order of preference."""

_LEAST_DISTANCE = 9.5


@dataclass(frozen=True, kw_only=True)
class Point:
    """A numbered point.

    Args:
        number: Its number in the table of settings.
        x: Position across.
        y: Position up.
        is_filled: Whether it is emphasised, as the chosen setting and the reference are.
    """

    number: int
    x: float
    y: float
    is_filled: bool = False


def points_figure(x_name: str, y_name: str, points: Sequence[Point]) -> Figure:
    """Returns a figure of points, each with its number beside it.

    Args:
        x_name: Name of the x axis.
        y_name: Name of the y axis.
        points: At least one.
    """
    figure, (axes,) = new_figure(1, WIDTH_INCH, 2.9)
    for point in points:
        fill = BLUE if point.is_filled else PAPER
        axes.plot([point.x], [point.y], "o", color=BLUE, markerfacecolor=fill, markeredgewidth=1.5, markersize=6)
    axes.margins(0.12)
    dress(axes, x_name, y_name)
    _number(axes, points)
    return figure


def _number(axes: Axes, points: Sequence[Point]) -> None:
    """Writes each number where it covers no point and no other number, if there is such a place."""
    at = np.array([(point.x, point.y) for point in points], dtype=np.float64)
    reach = np.maximum(np.ptp(at, axis=0), 1e-12)
    at = at / reach * (250.0, 130.0)  # about the size of the axes in points
    taken = [*at]
    for point, place in zip(points, at, strict=True):
        spots = [place + offset for offset in _OFFSETS]
        rooms = [min(_distance(spot, other) for other in taken if other is not place) for spot in spots]
        chosen = next((i for i, room in enumerate(rooms) if room >= _LEAST_DISTANCE), int(np.argmax(rooms)))
        taken.append(spots[chosen])
        axes.annotate(
            str(point.number),
            (point.x, point.y),
            xytext=_OFFSETS[chosen],
            textcoords="offset points",
            ha="center",
            va="center",
            color=INK,
            fontsize=FONT_SIZE - 1,
        )


def _distance(one: NDArray[np.float64], other: NDArray[np.float64]) -> float:
    return float(np.hypot(*(one - other)))
