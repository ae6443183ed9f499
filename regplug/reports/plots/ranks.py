"""A critical-difference diagram."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING

from regplug.reports.plots.rows import named_rows
from regplug.reports.plots.style import BLUE, FONT_SIZE, INK, dress

if TYPE_CHECKING:
    from matplotlib.figure import Figure


def ranks_figure(
    mean_ranks: Mapping[str, float], critical_difference: float, groups: Sequence[Sequence[str]] = ()
) -> Figure:
    """Returns a critical-difference diagram: a row for each setting, and a line through those not told apart.

    Args:
        mean_ranks: By setting; 1 is the best.
        critical_difference: Mean ranks that are closer are not told apart.
        groups: Settings that are not told apart.

    Source: Demsar 2006, turned so that names are not squeezed.
    """
    ordered = sorted(mean_ranks, key=mean_ranks.__getitem__)
    figure, axes, places = named_rows(ordered, extra_inch=0.35)
    at = dict(zip(ordered, places, strict=True))
    axes.plot([mean_ranks[label] for label in ordered], places, "o", color=BLUE, markersize=6)
    right = len(ordered) + 0.15
    for number, group in enumerate(groups):
        x = right + 0.12 * (number + 1) * max(1.0, len(ordered) / 8)
        axes.plot([x, x], [min(at[g] for g in group) - 0.05, max(at[g] for g in group) + 0.05], color=INK, linewidth=3)
        right = max(right, x)
    dress(axes, "mean rank (1 is the best); a bar joins settings that are not told apart", "")
    axes.set_xlim(0.8, right + 0.15)
    axes.set_xticks(range(1, len(ordered) + 1))
    bottom, _ = axes.get_ylim()
    axes.set_ylim(bottom, -0.32)
    axes.plot([1, 1 + critical_difference], [-0.08, -0.08], color=INK, linewidth=2, marker="|", markersize=8)
    axes.text(1, -0.14, f"critical difference {critical_difference:.2f}", va="bottom", color=INK, fontsize=FONT_SIZE)
    return figure
