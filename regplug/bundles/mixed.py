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

from regplug.bundles.cases import BATCHES, REAL, REAL_ROWS, VARIED, Reference
from regplug.bundles.differences import row_errors
from regplug.bundles.formats import Array, Run

MIXED_SIZES = tuple(size for size in BATCHES if size != REAL_ROWS)
"""Sizes of mixed batches; the real rows have been run in a batch of 64, in their own order."""

_LARGE = (1031, 257)
"""Sizes of the large batch; it has the first of them that is fast enough."""
_FILLED_ROWS = 211
"""Rows of a filled batch whatever their size."""
_MOST_BYTES = 2**24
THOROUGH_S, BRIEF_S = 0.5, 0.06
"""Longest time for the large batch, estimated from the fastest batch per row."""


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


def mixed_batches(
    run: Run, pool: Pool, *, sizes: Sequence[int] = MIXED_SIZES, most_s: float = BRIEF_S
) -> Iterator[Mixed]:
    """Runs batches of every size, each in a different order, and a larger one of 1,031 or 257 rows if that is fast.

    Args:
        run: Maps raw rows to outputs.
        pool: The pool of rows.
        sizes: The sizes that are always run, in ascending order. The rest of `MIXED_SIZES` is run only if it is fast.
        most_s: Longest time of such a batch, in seconds.
    """
    seconds_per_row = math.inf
    for size in MIXED_SIZES:
        if size not in sizes and not _is_fast(size, seconds_per_row, pool, most_s):
            return
        start = time.thread_time()
        batch = mixed_batch(run, pool, size)
        seconds_per_row = min(seconds_per_row, (time.thread_time() - start) / size)
        yield batch
    # Estimated from 97 rows, because the time of a small batch is mostly that of the call.
    for size in _LARGE:
        if _is_fast(size, seconds_per_row, pool, most_s):
            yield mixed_batch(run, pool, size)
            return


def _is_fast(size: int, seconds_per_row: float, pool: Pool, most_s: float) -> bool:
    return size * seconds_per_row <= most_s and size * pool.inputs[0].nbytes <= _MOST_BYTES


def mixed_batch(run: Run, pool: Pool, size: int) -> Mixed:
    """Runs one batch of so many rows of the pool, in an order that depends on the size."""
    return compared(run, pool, _order(size, len(pool.inputs)))


def filled_batch(run: Run, pool: Pool, others: Array) -> tuple[Mixed, Array]:
    """Runs all rows of the pool and other rows in one batch of 1,031 rows, or fewer if they are large.

    Args:
        run: Maps raw rows to outputs.
        pool: The pool of rows.
        others: Raw rows `(N, ...)`; as many are taken as there is room for.

    Returns:
        The pool's rows in that batch, and the outputs of the other rows that were taken.
    """
    size = max(_FILLED_ROWS, min(_LARGE[0], _MOST_BYTES // pool.inputs[0].nbytes))
    rows = np.concatenate([pool.inputs, others[: size - len(pool.inputs)]])
    order = np.random.default_rng(size).permutation(len(rows))
    outputs = run(rows[order])[np.argsort(order)]
    mine, rest = np.split(outputs, [len(pool.inputs)])
    return Mixed(rows=np.arange(len(mine)), errors=row_errors(mine, pool.outputs)), rest


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
