"""Learning curves of one run."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING

import numpy as np

from regplug.reports.plots.saving import png
from regplug.reports.plots.style import BLUE, GREEN, RED, new_figure, tick_at_integers

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure

_COLORS = {"train": BLUE, "valid": RED, "test": GREEN}

History = Mapping[str, Sequence[tuple[float, float]]]
"""Metric name, such as `train/loss` -> points (epoch, value)."""


def curves_png(history: History) -> bytes:
    """Returns the result of `curves_figure` as PNG."""
    return png(curves_figure(history))


def curves_figure(history: History) -> Figure:
    """Returns a figure of metrics over epochs: a panel for each quantity, a line for each split.

    `train/running_loss` is drawn dashed in the panel of `train/loss`. A metric without a split, such as `norm/weight`,
    has its own panel; a measurement of one layer, such as `gradient/norm/hidden1`, has none. The axis is logarithmic if
    positive values span a factor of 50. Metrics with a single value are left out if there are others.

    Args:
        history: Points (epoch, value) by metric name; names without a point are left out.
    """
    panels: dict[str, History] = {}
    for name, points in history.items():
        if points and name.count("/") <= 1:
            panel = _panel(name)
            panels[panel] = {**panels.get(panel, {}), name: points}
    curves = {name: lines for name, lines in panels.items() if max(map(len, lines.values())) > 1} or panels
    # Without points there is one empty panel.
    figure, all_axes = new_figure(max(1, len(curves)), 4.4, 3.4)
    for axes, (panel, lines) in zip(all_axes, curves.items(), strict=False):
        _draw_panel(axes, panel, lines)
    return figure


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
    tick_at_integers(axes)
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
