"""Figures of cells: a confusion matrix, and a heat map of two factors."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray

from regplug.reports.plots.saving import png
from regplug.reports.plots.style import FONT_SIZE, INK, WIDTH_INCH, dress, new_figure, wrapped

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure

MOST_NUMBERED_CLASSES = 20
"""From this number of classes on, the cells are too small for numbers."""

MOST_LETTERS = 24
"""Longer class names are shortened."""


def heat_map_figure(
    axis_names: tuple[str, str],
    values: tuple[Sequence[str], Sequence[str]],
    cells: NDArray[np.float64],
    *,
    metric: str,
    texts: Sequence[Sequence[str]],
    best: tuple[int, int] | None = None,
) -> Figure:
    """Returns a heat map of a metric over two factors.

    Args:
        axis_names: Names of the factor down and of the factor across.
        values: Values of the factor down `(R,)` and of the factor across `(C,)`, as text.
        cells: The metric `(R, C)`; NaN where no run has it.
        metric: Its name.
        texts: The same as text.
        best: Row and column of the best cell, which is framed.
    """
    from matplotlib.patches import Rectangle

    down, across = ([wrapped(value, 16) for value in each] for each in values)
    lines = max(name.count("\n") + 1 for name in down)
    height = 1.0 + len(down) * (0.2 + 0.17 * lines) + 0.06 * max(map(len, across))
    figure, (axes,) = new_figure(1, WIDTH_INCH, max(2.2, height))
    # A mesh of vectors, where an image would be pixels inside the SVG.
    mesh = axes.pcolormesh(cells, cmap="cividis", edgecolors="#808080", linewidth=0.5)
    for (row, column), value in np.ndenumerate(cells):
        if np.isfinite(value):
            _write_cell(axes, row, column, texts[row][column], mesh, value)
    if best is not None:
        axes.add_patch(Rectangle((best[1], best[0]), 1, 1, fill=False, edgecolor="#d40000", linewidth=2.5, zorder=3))
    dress(axes, axis_names[1], axis_names[0])
    axes.grid(visible=False)
    is_long = max(map(len, across)) * len(across) > 40
    turned: dict[str, Any] = {"rotation": 40, "ha": "right"} if is_long else {}
    axes.set_xticks(np.arange(len(across)) + 0.5, across, parse_math=False, **turned)
    axes.set_yticks(np.arange(len(down)) + 0.5, down, parse_math=False)
    axes.tick_params(length=0)
    axes.invert_yaxis()
    axes.set_title(metric, fontsize=FONT_SIZE, color=INK, parse_math=False)
    return figure


def _write_cell(axes: Axes, row: int, column: int, text: str, mesh: Any, value: float) -> None:
    red, green, blue, _ = mesh.cmap(mesh.norm(value))
    is_dark = 0.299 * red + 0.587 * green + 0.114 * blue < 0.5
    color = "#ffffff" if is_dark else "#000000"
    axes.text(column + 0.5, row + 0.5, text, ha="center", va="center", color=color, fontsize=FONT_SIZE - 1)


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
    figure, (axes,) = new_figure(1, side_inch + 0.9, side_inch)
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
    return png(figure)


def _write_counts(axes: Axes, matrix: NDArray[np.int64], share: NDArray[Any]) -> None:
    for (row, column), count in np.ndenumerate(matrix):
        if count:
            color = "white" if share[row, column] > 0.5 else "black"
            axes.text(column, row, str(count), ha="center", va="center", color=color, fontsize=8)


def _shorten(name: str, most: int = MOST_LETTERS) -> str:
    return name if len(name) <= most else f"{name[: most - 1]}…"
