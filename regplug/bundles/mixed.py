"""Mixes real and varied rows in batches of several sizes and orders: no output may depend on its batch. numpy only.

A model that mixes, sorts or averages rows, or uses a row's position or the batch size, gives a row different outputs in
different batches.
"""

from __future__ import annotations

import math
import time
from collections.abc import Iterator, Sequence
from dataclasses import dataclass

import numpy as np

from regplug.bundles.cases import BATCHES, REAL, VARIED, Reference
from regplug.bundles.formats import Array, Run

_LARGE_BATCH = 1031
_MOST_BYTES = 2**24
_MOST_S = 0.5
"""Longest time for the large batch, estimated from the fastest batch per row; it is skipped if it would take longer."""
_BRIEF_PART = 4
"""Part of the time and of the rows that the large batch of a brief check may take."""


@dataclass(frozen=True, kw_only=True)
class Pool:
    """All rows that are mixed in batches.

    Args:
        inputs: Raw rows `(97, ...)`: the real ones, then the varied ones.
        outputs: The model's outputs for each `(97, K)`.
        tolerance: Largest allowed difference of an output.
        real_rows: Number of real rows; the model computed these in one batch and the others in another.
    """

    inputs: Array
    outputs: Array
    tolerance: float
    real_rows: int

    @classmethod
    def of(cls, known: Sequence[Reference]) -> Pool:
        """Combines the cases `real` and `varied`."""
        parts = [next(reference for reference in known if reference.case == case) for case in (REAL, VARIED)]
        return cls(
            inputs=np.concatenate([part.inputs for part in parts]),
            outputs=np.concatenate([part.outputs for part in parts]),
            tolerance=max(part.tolerance for part in parts),
            real_rows=len(parts[0].inputs),
        )

    @property
    def has_distinct_rows(self) -> bool:
        """Whether any two rows differ."""
        return bool((self.inputs != self.inputs[:1]).any())

    def batch_of(self, row: int) -> Array:
        """Returns the rows of the batch in which the model computed the known output of a row."""
        return np.arange(self.real_rows) if row < self.real_rows else np.arange(self.real_rows, len(self.inputs))


@dataclass(frozen=True, kw_only=True)
class Mixed:
    """One batch and the differences of its outputs from the known ones.

    Args:
        rows: Index of each row in the pool `(B,)`.
        errors: Largest difference of each row `(B,)`; infinite if an output is not finite.
    """

    rows: Array
    errors: Array

    @property
    def error(self) -> float:
        """The largest difference of all rows."""
        return float(self.errors.max())

    @property
    def place(self) -> int:
        """Index in the batch of the row with the largest difference."""
        return int(self.errors.argmax())


def mixed_batches(run: Run, pool: Pool, *, sizes: Sequence[int] = BATCHES, is_brief: bool = False) -> Iterator[Mixed]:
    """Runs batches of every size, each in a different order, and one large batch if that is fast.

    Args:
        run: Maps raw rows to outputs.
        pool: The pool of rows.
        sizes: The sizes.
        is_brief: Whether the large batch has a quarter of the rows if it would take more than a quarter of the time;
            for a graph that is also run with all of them.
    """
    seconds_per_row = math.inf
    for size in sizes:
        start = time.thread_time()
        batch = mixed_batch(run, pool, size)
        seconds_per_row = min(seconds_per_row, (time.thread_time() - start) / size)
        yield batch
    estimated_s = _LARGE_BATCH * seconds_per_row
    if estimated_s <= _MOST_S and _LARGE_BATCH * pool.inputs[0].nbytes <= _MOST_BYTES:
        is_quartered = is_brief and estimated_s > _MOST_S / _BRIEF_PART
        yield mixed_batch(run, pool, _LARGE_BATCH // _BRIEF_PART if is_quartered else _LARGE_BATCH)


def mixed_batch(run: Run, pool: Pool, size: int) -> Mixed:
    """Runs one batch of so many rows of the pool, in an order that depends on the size."""
    return compared(run, pool, _order(size, len(pool.inputs)))


def sizes_of(batches: Sequence[Mixed]) -> str:
    """Returns the sizes of batches as text for a report."""
    return ", ".join(str(len(batch.rows)) for batch in batches)


def _order(size: int, total: int) -> Array:
    return np.random.default_rng(size).permutation(max(size, total))[:size] % total


def compared(run: Run, pool: Pool, rows: Array) -> Mixed:
    """Runs one batch of rows of the pool.

    Args:
        run: Maps raw rows to outputs.
        pool: The pool of rows.
        rows: Indices of the rows in the pool `(B,)`.
    """
    return Mixed(rows=rows, errors=row_errors(run(pool.inputs[rows]), pool.outputs[rows]))


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
