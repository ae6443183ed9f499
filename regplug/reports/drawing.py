"""A figure that can be drawn, and what all figures of settings take from an analysis."""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from regplug.statistics import Summary

if TYPE_CHECKING:
    from matplotlib.figure import Figure


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


def mean_of(summary: Summary) -> float:
    """Returns the mean of a setting; NaN without one."""
    return math.nan if summary.mean is None else summary.mean


def ends_of(summary: Summary) -> tuple[float, float]:
    """Returns the ends of its 95 % interval; NaN without one."""
    return summary.interval or (math.nan, math.nan)


def first_of(most: int, items: Sequence[Any] | Mapping[str, Any], what: str = "settings") -> str:
    """Returns a remark that only the best are shown; empty if all are."""
    return f" The best {most} of {len(items)} {what}." if len(items) > most else ""
