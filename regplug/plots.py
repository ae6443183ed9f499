"""Figures as PNG bytes: the only room of matplotlib, through its object interface (no global figure, no display)."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from io import BytesIO
from typing import Any

import numpy as np
from matplotlib.axes import Axes
from matplotlib.backends.backend_agg import FigureCanvasAgg
from matplotlib.figure import Figure
from matplotlib.ticker import MaxNLocator
from numpy.typing import NDArray

DPI = 120
MOST_NUMBERED_CLASSES = 20
"""From here on the cells are too small for a number each."""

MOST_LETTERS = 24
"""A longer class name is cut."""

_COLORS = {"train": "#0072b2", "valid": "#d55e00", "test": "#009e73"}
"""From Okabe and Ito 2008: told apart with any colour vision."""

History = Mapping[str, Sequence[tuple[float, float]]]
"""Metric name, such as `train/loss`, to its points (epoch, value)."""


def confusion_matrix_png(matrix: NDArray[np.int64], class_names: Sequence[str] = ()) -> bytes:
    """Returns a figure of a confusion matrix: counts, coloured by their share of the row.

    Args:
        matrix: Counts `(K, K)`: true class down, predicted class across.
        class_names: One for each class; numbers where there are none.
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
    # A class may be called "$5 to $9", which is no formula.
    axes.set_xticks(
        ticks, names[::step], rotation=45 if is_long else 0, ha="right" if is_long else "center", parse_math=False
    )
    axes.set_yticks(ticks, names[::step], parse_math=False)
    axes.set(xlabel="predicted class", ylabel="true class")
    figure.colorbar(image, ax=axes, label="share of the true class", shrink=0.8)
    return _png(figure)


def curves_png(history: History) -> bytes:
    """Returns a figure of metrics over epochs: a panel for each quantity, a line for each split.

    `train/running_loss` goes into the panel of `train/loss`, dashed; a metric of no split, such as `norm/weight`, has a
    panel of its own. Where positive values span a factor of 50, the axis is logarithmic.

    Args:
        history: Points (epoch, value) by metric name; names without a point are left out.
    """
    panels: dict[str, History] = {}
    for name, points in history.items():
        if points:
            panel = _panel(name)
            panels[panel] = {**panels.get(panel, {}), name: points}
    num_panels = max(1, len(panels))
    figure, all_axes = _figure(num_panels, 4.4 * num_panels, 3.4)
    # Without a point there is one empty panel.
    for axes, (panel, lines) in zip(all_axes, panels.items(), strict=False):
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
    axes.xaxis.set_major_locator(MaxNLocator(integer=True, min_n_ticks=1))
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


def _shorten(name: str) -> str:
    return name if len(name) <= MOST_LETTERS else f"{name[: MOST_LETTERS - 1]}…"


def _write_counts(axes: Axes, matrix: NDArray[np.int64], share: NDArray[Any]) -> None:
    for (row, column), count in np.ndenumerate(matrix):
        if count:
            color = "white" if share[row, column] > 0.5 else "black"
            axes.text(column, row, str(count), ha="center", va="center", color=color, fontsize=8)


def _figure(num_panels: int, width_inch: float, height_inch: float) -> tuple[Figure, list[Axes]]:
    figure = Figure(figsize=(width_inch, height_inch), dpi=DPI, layout="constrained")
    FigureCanvasAgg(figure)
    return figure, list(figure.subplots(1, num_panels, squeeze=False)[0])


def _png(figure: Figure) -> bytes:
    buffer = BytesIO()
    # No metadata: the same numbers give the same bytes.
    figure.savefig(buffer, format="png", metadata={"Software": None})
    return buffer.getvalue()
