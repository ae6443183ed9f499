"""Gathers parts of a table; its float32 columns become rows of one array.

Arrow's parts stay in the memory of the first few, and one large array gets its memory in large pages: the first use of
memory would else take a third of the time of reading a large file.

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
        self._types = types
        self._numbers = [name for name, kind in types.items() if pa.types.is_float32(kind)]
        self._values_CB = np.empty((len(self._numbers), 0), dtype=np.float32)
        self._num_rows = 0
        self._others: list[pa.Table] = []

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
        for name, values_B in zip(self._numbers, self._values_CB, strict=True):
            values_B[start:stop] = part.column(name).to_numpy()
        self._others.append(part.drop_columns(self._numbers))
        self._num_rows = stop

    def table(self) -> pa.Table:
        """Returns all rows; empty cells of float32 columns are NaN."""
        others = pa.concat_tables(self._others)
        numbers = dict(zip(self._numbers, self._values_CB[:, : self._num_rows], strict=True))
        return pa.table(
            {name: others[name] if name not in numbers else pa.array(numbers[name]) for name in self._types}
        )
