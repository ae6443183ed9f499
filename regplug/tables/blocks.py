"""Writes the columns of a table into the arrays of its splits, a block of rows at a time.

Shape letters: B rows, C columns of the table.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence

import numpy as np

from regplug.tables.kinds import Found
from regplug.tables.preparation import Array, Column, codes_of_labels

_CELLS_AT_A_TIME = 1 << 18
_FEWEST_ROWS, _MOST_ROWS = 1024, 4096

_Reader = Callable[[slice], Array]


def codes_of_splits(columns: Sequence[tuple[Found, Column]], index: Sequence[Array]) -> list[Array]:
    """Returns the codes of the rows of each split, float32 `(B, C)`.

    A block of rows stays in the processor's cache, and needs no copy of whole columns.

    Args:
        columns: The columns and what is known of their categories.
        index: The rows of each split; no row is in two splits.
    """
    readers = [_reader(one, column) for one, column in columns]
    parts = [np.empty((len(rows), len(readers)), dtype=np.float32) for rows in index]
    targets = [_ascending(rows) for rows in index]
    num_rows = 1 + max(int(rows[-1]) for rows, _ in targets if len(rows))
    height = int(np.clip(_CELLS_AT_A_TIME // len(readers), _FEWEST_ROWS, _MOST_ROWS))
    for start in range(0, num_rows, height):
        block_BC = _block(readers, slice(start, min(start + height, num_rows)))
        for part_BC, (rows, places) in zip(parts, targets, strict=True):
            first, last = np.searchsorted(rows, (start, start + height))
            if places is None:
                # With its default mode, np.take copies the output before it writes into it.
                np.take(block_BC, rows[first:last] - start, axis=0, out=part_BC[first:last], mode="clip")
            else:
                part_BC[places[first:last]] = block_BC[rows[first:last] - start]
    return parts


def _block(readers: Sequence[_Reader], rows: slice) -> Array:
    block_BC = np.empty((rows.stop - rows.start, len(readers)), dtype=np.float32)
    for position, read in enumerate(readers):
        block_BC[:, position] = read(rows)
    return block_BC


def _reader(one: Found, column: Column) -> _Reader:
    """Returns a function that reads the codes of some rows of a column."""
    if one.places is None:
        return one.values_of
    places, codes = one.places, codes_of_labels(column, one.labels)
    return lambda rows: codes[places[rows]]


def _ascending(rows: Array) -> tuple[Array, Array | None]:
    """Returns the rows in ascending order, and the place of each in the split unless they are in this order."""
    if (rows[1:] > rows[:-1]).all():
        return rows, None
    places = np.argsort(rows)
    return rows[places], places
