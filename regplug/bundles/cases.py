"""The inputs on which files are compared: real ones, and those that their type allows. numpy only."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from regplug.bundles.formats import Array

BATCHES = (1, 2, 7, 64)
"""Batch sizes at which the real rows go through a file."""

REAL = "real"
"""The case of real rows."""

NONFINITE = "nonfinite"
"""The case with NaN and infinity in its first two rows; the others are real."""

LARGE = "large"
"""The case of normal numbers times 1e4."""

_ROWS = 7
_LARGE = 1e4


@dataclass(frozen=True, kw_only=True)
class Reference:
    """What the model puts out for one case, and how far a file may be from it.

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


def make_cases(samples: Array) -> dict[str, Array]:
    """Makes the inputs of every case.

    Args:
        samples: Real raw rows `(N, ...)`; the first 64 are taken, repeated where there are fewer.

    Returns:
        Raw rows by case, `real` first: 64 of them, at most 7 in the other cases.
    """
    # A copy: torch refuses to share arrays that may not be written.
    cases = {REAL: np.resize(samples[: max(BATCHES)], (max(BATCHES), *samples.shape[1:])).copy()}
    shape = (_ROWS, *samples.shape[1:])
    generator = np.random.default_rng(0)
    if samples.dtype == np.uint8:
        cases["zeros"] = np.zeros(shape, np.uint8)
        cases["full"] = np.full(shape, 255, np.uint8)
        cases["random"] = generator.integers(0, 256, shape, np.uint8)
    elif samples.dtype.kind == "f":
        normal = generator.standard_normal(shape).astype(samples.dtype)
        cases["zeros"] = np.zeros(shape, samples.dtype)
        cases["normal"] = normal
        cases[LARGE] = normal * samples.dtype.type(_LARGE)
        cases[NONFINITE] = _with_nonfinite(cases[REAL][:_ROWS])
    return cases


def _with_nonfinite(real: Array) -> Array:
    rows = real.copy()
    rows.reshape(len(rows), -1)[0, 0] = np.nan
    rows.reshape(len(rows), -1)[1, 0] = np.inf
    return rows
