"""Different random rows for mixed batches. numpy only.

A row's output must not depend on its batch. Equal rows cannot show that, and some exports have only one example row. So
half of these rows are drawn from the declared range, and half from the values of the real rows.
"""

from __future__ import annotations

from typing import Any

import numpy as np

from regplug.bundles.formats import Array
from regplug.bundles.stochastic.uniforms import uniforms

_OWN, _DECLARED = 3, 4
"""Streams of uniform numbers; other cases use 0 to 2."""

_WIDEST = 2.0**31


def varied_rows(real: Array, value_range: tuple[float, float] | None, count: int) -> Array:
    """Draws rows deterministically from the real rows.

    Args:
        real: Real raw rows `(N, ...)`.
        value_range: Smallest and largest raw value, if declared.
        count: Number of rows to draw.

    Returns:
        Rows `(count, ...)` in the dtype of the real ones. They all differ, unless the real rows are integers of unknown
        range that are all 0.
    """
    shape = (count, *real.shape[1:])
    rows = _like_real(real, uniforms(_OWN, shape))
    declared = (0.0, 255.0) if value_range is None and real.dtype == np.uint8 else value_range
    if declared is not None and real.dtype.kind == "f":
        rows = np.clip(rows, *declared).astype(real.dtype)
    if declared is not None or real.dtype.kind == "b":
        low, high = _bounds(real.dtype, declared or (0.0, 1.0))
        rows[::2] = _between(low, high, uniforms(_DECLARED, shape)[::2], real.dtype)
    return rows


def _like_real(real: Array, shares: Array) -> Array:
    """Returns plausible values for each position of a row: observed integers, or floats between the extremes.

    Integers may be codes with entries in a table, so an unobserved one may have no entry.
    """
    low, high = real.min(0), real.max(0)
    if (low == high).all():
        low, high = _around(real[0])
        return _between(low, high, shares, real.dtype)
    if real.dtype.kind == "f":
        return _between(low, high, shares, real.dtype)
    seen: Array = np.take_along_axis(real, (shares * len(real)).astype(np.int64), axis=0)
    return seen


def _around(row: Array) -> tuple[Array, Array]:
    """Returns bounds for a single row: from 0 to twice each number, or to the number itself for integers."""
    if row.dtype.kind != "f":
        zero = np.zeros_like(row)
        return np.minimum(zero, row), np.maximum(zero, row)
    wide = row.astype(np.float64)
    filled = np.where(wide == 0, np.abs(wide).mean() or 1.0, wide)
    return np.minimum(0.0, 2 * filled), np.maximum(0.0, 2 * filled)


def _bounds(dtype: np.dtype[Any], declared: tuple[float, float]) -> tuple[Array, Array]:
    """Returns the declared range, limited to the range of the dtype."""
    if dtype.kind == "f":
        return np.float64(declared[0]), np.float64(declared[1])  # type: ignore[return-value] # arrays of no axis
    limits = (0, 1) if dtype.kind == "b" else (np.iinfo(dtype).min, np.iinfo(dtype).max)
    low, high = (min(max(int(end), limits[0]), limits[1]) for end in (np.ceil(declared[0]), np.floor(declared[1])))
    return np.array(low, dtype), np.array(high, dtype)


def _between(low: Array, high: Array, shares: Array, dtype: np.dtype[Any]) -> Array:
    """Returns low + share * (high - low); for integers both ends are as likely as the other values."""
    wide_low, wide_high = np.asarray(low, np.float64), np.asarray(high, np.float64)
    if dtype.kind == "f":
        most = float(np.finfo(dtype).max)
        with np.errstate(over="ignore"):
            rows: Array = np.clip(wide_low + shares * (wide_high - wide_low), -most, most).astype(dtype)
        return rows
    steps = np.floor(shares * (np.clip(wide_high - wide_low, 0, _WIDEST) + 1))
    if dtype.kind == "b":
        return steps > 0
    whole: Array = np.asarray(low, dtype) + steps.astype(dtype)
    return whole
