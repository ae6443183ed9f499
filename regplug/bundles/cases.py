"""Cases: sets of inputs on which files are compared, real ones and others that their type allows. numpy only.

Every case except `real` is derived from the real rows and the declared range, so a bundle's samples can be recomputed
and checked.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from regplug.bundles.formats import Array
from regplug.bundles.stochastic.uniforms import uniforms
from regplug.bundles.varied import varied_rows

BATCHES = (1, 2, 7, 64, 97)
"""Batch sizes to try. The last one holds all real and all varied rows."""

REAL = "real"
"""The case of real rows."""

REAL_ROWS = 64
"""Rows of the case `real`."""

VARIED = "varied"
"""The case of different random rows, which are mixed with the real rows in batches."""

VARIED_ROWS = BATCHES[-1] - REAL_ROWS
"""Rows of the case `varied`."""

NORMAL = "normal"
"""The case of standard normal numbers."""

NONFINITE = "nonfinite"
"""The case with NaN and infinity in its first two rows; the others are real."""

LARGE = "large"
"""The case of normal numbers times 1e4."""

EXTREME_ROWS = 7
"""Rows of every other case."""

LARGE_FACTOR = 1e4
"""Factor from `normal` to `large`."""


@dataclass(frozen=True, kw_only=True)
class Reference:
    """The model's outputs for one case, and the allowed difference of a file.

    Args:
        case: Name of the case.
        inputs: Raw rows `(B, ...)`.
        outputs: The model's outputs `(B, K)`, float32.
        tolerance: Largest allowed absolute difference.
    """

    case: str
    inputs: Array
    outputs: Array
    tolerance: float


def make_cases(samples: Array, value_range: tuple[float, float] | None = None) -> dict[str, Array]:
    """Returns the inputs of every case.

    Args:
        samples: Real raw rows `(N, ...)`; the first 64 are used, repeated if there are fewer.
        value_range: Smallest and largest raw value, if declared.

    Returns:
        Raw rows by case, `real` first: 64 real ones, 33 varied ones, 7 in each other case.
    """
    # A copy, because torch cannot share read-only arrays.
    real = np.resize(samples[:REAL_ROWS], (REAL_ROWS, *samples.shape[1:])).copy()
    shape = (EXTREME_ROWS, *samples.shape[1:])
    cases = {REAL: real, VARIED: varied_rows(real, value_range, VARIED_ROWS)}
    if samples.dtype == np.uint8:
        cases["zeros"] = np.zeros(shape, np.uint8)
        cases["full"] = np.full(shape, 255, np.uint8)
        cases["random"] = (uniforms(0, shape) * 256).astype(np.uint8)
    elif samples.dtype.kind == "f":
        normal = _normal(shape).astype(samples.dtype)
        cases["zeros"] = np.zeros(shape, samples.dtype)
        cases[NORMAL] = normal
        cases[LARGE] = normal * samples.dtype.type(LARGE_FACTOR)
        cases[NONFINITE] = _with_nonfinite(real[:EXTREME_ROWS])
    return cases


def case_rows(dtype: np.dtype[np.generic]) -> dict[str, int]:
    """Returns the cases for inputs of a type, with the number of rows of each.

    >>> case_rows(np.dtype("int64"))
    {'real': 64, 'varied': 33}
    """
    return {case: len(rows) for case, rows in make_cases(np.ones((1, 1), dtype)).items()}


def _normal(shape: tuple[int, ...]) -> Array:
    """Box and Muller 1958, because numpy's normal numbers may change between versions."""
    radius = np.sqrt(-2 * np.log(uniforms(1, shape).astype(np.float64)))
    normal: Array = radius * np.cos(2 * np.pi * uniforms(2, shape).astype(np.float64))
    return normal


def _with_nonfinite(real: Array) -> Array:
    rows = real.copy()
    rows.reshape(len(rows), -1)[0, 0] = np.nan
    rows.reshape(len(rows), -1)[1, 0] = np.inf
    return rows
