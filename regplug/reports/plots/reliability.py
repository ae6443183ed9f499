"""The reliability diagram: how often predictions of each confidence are right."""

from __future__ import annotations

from typing import Any

import numpy as np
from numpy.typing import NDArray

from regplug.reports.plots.saving import png
from regplug.reports.plots.style import new_figure


def reliability_png(rows: NDArray[Any], confidence: NDArray[Any], accuracy: NDArray[Any]) -> bytes:
    """Returns a figure of the accuracy of each bin against its mean confidence, above the number of its rows.

    Bars below the diagonal are predictions that are too confident.

    Args:
        rows: Number of rows of each bin of equal width `(bins,)`.
        confidence: Mean confidence of each bin `(bins,)`.
        accuracy: Accuracy of each bin `(bins,)`.

    Source: Guo et al. 2017, figure 1.
    """
    figure, (axes, counts) = new_figure(2, 4.0, 3.6)
    width = 1 / len(rows)
    middle, filled = (np.arange(len(rows)) + 0.5) * width, rows > 0
    error = float(rows @ np.abs(accuracy - confidence)) / max(1, int(rows.sum()))
    axes.bar(middle[filled], accuracy[filled], width, color="#0072b2", alpha=0.8, edgecolor="white")
    axes.plot(confidence[filled], accuracy[filled], "o", color="#d55e00", label="mean confidence")
    axes.plot([0, 1], [0, 1], "--", color="#888888", label="perfectly calibrated")
    axes.set(xlim=(0, 1), ylim=(0, 1), xlabel="confidence", ylabel="accuracy", title=f"calibration error {error:.3f}")
    axes.legend(frameon=False, loc="upper left", fontsize=8)
    counts.bar(middle, rows, width, color="#0072b2", alpha=0.8, edgecolor="white")
    counts.set(xlim=(0, 1), xlabel="confidence", ylabel="test rows", title="rows by confidence")
    return png(figure)
