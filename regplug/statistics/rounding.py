"""Distinguishes real differences from rounding: most metrics are computed in float32.

One more correct row in each of two seeds gives 331/359 - 330/359 and 301/359 - 300/359: equal, but not in float32.
"""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

Array = NDArray[np.float64]

RESOLUTION = 4 * float(np.finfo(np.float32).eps)
"""Relative to the metric's size. Each value is rounded by at most half an eps, so two equal differences are at most
2 eps apart; the rest is a margin for sums over batches."""


def merge_near(values: Array, tolerance: Array, *, start: float = -np.inf) -> Array:
    """Returns the values `(n,)`, with values closer than their tolerance made equal.

    Each value joins the smallest earlier value within its tolerance, so a merged group is never wider than the
    tolerance.

    Args:
        values: Numbers `(n,)`.
        tolerance: For each of them, `(n,)`.
        start: A number to merge with first, such as 0 for magnitudes.

    >>> merge_near(np.array([0.3, 0.1, 0.1001]), np.full(3, 0.001)).tolist()
    [0.3, 0.1, 0.1]
    """
    merged = values.copy()
    anchor = start
    for at in np.argsort(values, kind="stable"):
        if values[at] - anchor <= tolerance[at]:
            merged[at] = anchor
        else:
            anchor = float(values[at])
    return merged


def merge_magnitudes(differences: Array, tolerance: Array) -> Array:
    """Returns differences `(n,)` with the zeros and ties that they have without rounding; keeps the signs.

    Args:
        differences: Numbers `(n,)`.
        tolerance: For each of them, `(n,)`.

    >>> merge_magnitudes(np.array([-0.2, 0.2001, 0.0005]), np.full(3, 0.001)).tolist()
    [-0.2, 0.2, 0.0]
    """
    merged: Array = np.sign(differences) * merge_near(np.abs(differences), tolerance, start=0.0)
    return merged


def are_equal(differences: Array, tolerance: Array) -> bool:
    """Returns whether differences vary by no more than their rounding."""
    surest = int(tolerance.argmin())
    return bool((np.abs(differences - differences[surest]) <= tolerance + tolerance[surest]).all())
