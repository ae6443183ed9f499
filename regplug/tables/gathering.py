"""Gathers parts of a table; its float32 columns become rows of one array.

Arrow then reuses the memory of the first parts, and one large array gets its memory in large pages. Otherwise the first
use of memory takes a third of the time of reading a large file.

Shape letters: B rows, C columns of float32.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import numpy as np
import pyarrow as pa

_SPARE = 1.02


class Gathered:
    """Parts of a table, in their order.

    Args:
        types: Arrow type of each column, by name.
    """

    def __init__(self, types: Mapping[str, Any]) -> None:
        self._names = list(types)
        kinds = list(types.values())
        # By position, because Arrow looks for a name in all columns.
        self._numbers = [at for at, kind in enumerate(kinds) if pa.types.is_float32(kind)]
        self._others = [at for at, kind in enumerate(kinds) if not pa.types.is_float32(kind)]
        self._values_CB = np.empty((len(self._numbers), 0), dtype=np.float32)
        self._num_rows = 0
        self._parts: list[pa.Table] = []

    def add(self, part: pa.Table, share: float) -> None:
        """Adds rows.

        Args:
            part: The rows.
            share: Share of all rows, roughly, that have been added after it; over 0.
        """
        start, stop = self._num_rows, self._num_rows + len(part)
        if stop > self._values_CB.shape[1]:
            larger_CB = np.empty((len(self._numbers), int(stop / share * _SPARE)), dtype=np.float32)
            larger_CB[:, :start] = self._values_CB[:, :start]
            self._values_CB = larger_CB
        columns = part.columns
        for position, values_B in zip(self._numbers, self._values_CB, strict=True):
            values_B[start:stop] = columns[position].to_numpy()
        self._parts.append(part.select(self._others))
        self._num_rows = stop

    def table(self) -> pa.Table:
        """Returns all rows; empty cells of float32 columns are NaN."""
        columns = dict(zip(self._others, pa.concat_tables(self._parts).columns, strict=True))
        for position, values_B in zip(self._numbers, self._values_CB, strict=True):
            columns[position] = pa.array(values_B[: self._num_rows])
        return pa.table([columns[position] for position in range(len(columns))], names=self._names)
