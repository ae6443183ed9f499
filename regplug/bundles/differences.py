"""Differences of a file's outputs from the model's. numpy only."""

from __future__ import annotations

import numpy as np

from regplug.bundles.formats import Array


def worst_error(got: Array, want: Array) -> float:
    """Returns the largest absolute difference where the model's own output is finite; infinite for different shapes.

    >>> worst_error(np.array([1.0, 7.0]), np.array([1.5, np.nan]))
    0.5
    >>> worst_error(np.array([1.0, np.nan]), np.array([1.5, 2.0]))
    inf
    """
    if got.shape != want.shape:
        return float("inf")
    finite = np.isfinite(want)
    if not np.isfinite(got[finite]).all():
        return float("inf")
    return float(np.abs(got[finite].astype(np.float64) - want[finite]).max(initial=0.0))


def row_errors(got: Array, want: Array) -> Array:
    """Returns each row's largest difference `(B,)` where the known output is finite; infinite if the other is not.

    >>> row_errors(np.array([[1.0], [np.nan], [3.0]]), np.array([[1.5], [2.0], [np.nan]]))
    array([0.5, inf, 0. ])
    """
    if got.shape != want.shape:
        return np.full(len(want), np.inf)
    known = np.isfinite(want)
    gap = np.where(known & np.isfinite(got), got, 0.0).astype(np.float64) - np.where(known, want, 0.0)
    errors: Array = np.where(known & ~np.isfinite(got), np.inf, np.abs(gap)).max(1)
    return errors
