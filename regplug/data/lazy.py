"""Raw inputs that stay where they are, such as in files, and are read by their index.

They take the place of the array `Split.x` where that array would not fit into memory.
"""

from __future__ import annotations

import multiprocessing
import os
import warnings
from abc import ABC, abstractmethod
from collections.abc import Iterator, Sequence
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor
from torch.utils.data import DataLoader, Dataset

from regplug.errors import RegplugError

Array = NDArray[Any]

NUMBERS_AT_ONCE = 1 << 24
"""Number of input values that one pass over all rows holds at a time."""

MOST_ROWS_AT_ONCE = 4096
MOST_WORKERS = 8


class Reader(ABC):
    """Reads the raw inputs of a dataset one at a time.

    Worker processes get a copy, so it must be possible to pickle a reader; it should hold paths and no open files.

    Args:
        shape: Shape of one input.
        dtype: Its dtype.
    """

    def __init__(self, shape: Sequence[int], dtype: Any) -> None:
        self.shape, self.dtype = tuple(shape), np.dtype(dtype)

    @abstractmethod
    def __len__(self) -> int:
        """Returns the number of inputs."""

    @abstractmethod
    def read(self, row: int) -> Array:
        """Returns one input.

        Raises:
            DataError: It cannot be read.
        """


class LazyRows:
    """Rows of a reader, in the place of an array `(B, ...)`.

    An index returns an array, like NumPy's; `take` returns lazy rows.

    Args:
        reader: Reads them.
        rows: Which of the reader's inputs these are, `(B,)`; by default all.
        workers: Processes that read; by default one for each core, at most 8. 0 reads in the calling process.
    """

    def __init__(self, reader: Reader, rows: NDArray[np.intp] | None = None, *, workers: int | None = None) -> None:
        self.reader = reader
        self.rows = np.arange(len(reader)) if rows is None else rows
        self.workers = min(MOST_WORKERS, _cores()) if workers is None else workers

    @property
    def shape(self) -> tuple[int, ...]:
        """Shape of all rows, `(B, ...)`."""
        return (len(self.rows), *self.reader.shape)

    @property
    def ndim(self) -> int:
        """Number of axes, that of the rows included."""
        return len(self.shape)

    @property
    def dtype(self) -> np.dtype[Any]:
        """Of the raw inputs."""
        dtype: np.dtype[Any] = self.reader.dtype
        return dtype

    def __len__(self) -> int:
        return len(self.rows)

    def __getitem__(self, index: Any) -> Array:
        """Reads the rows at an index, in the calling process."""
        chosen = np.asarray(self.rows[index])
        flat = _read_all(self.reader, chosen.reshape(-1))
        return flat.reshape(*chosen.shape, *self.reader.shape)

    def __array__(self, dtype: Any = None, copy: Any = None) -> Array:
        whole = np.concatenate([part.numpy() for part in self.in_turn(chunks_of(self.shape))])
        return whole if dtype is None else whole.astype(dtype)

    def take(self, index: NDArray[np.intp]) -> LazyRows:
        """Returns the rows at `index`, in its order, without reading them."""
        return LazyRows(self.reader, self.rows[index], workers=self.workers)

    def in_turn(self, parts: Sequence[Any]) -> Iterator[Tensor]:
        """Reads parts of the rows ahead, in worker processes, and yields them in order.

        Args:
            parts: The index of each part: a slice, or row numbers.

        Yields:
            Raw inputs `(rows of the part, ...)`.

        Raises:
            DataError: An input cannot be read.
        """
        indices = [self.rows[part] for part in parts]
        # A daemonic process may have no children.
        is_alone = len(indices) < 2 or multiprocessing.current_process().daemon
        loader = DataLoader(
            _Parts(self.reader),
            batch_size=None,
            sampler=indices,
            num_workers=0 if is_alone else min(self.workers, len(indices)),
            collate_fn=_unchanged,
            # Without a generator of its own, the loader draws its seed from torch's global one.
            generator=torch.Generator(),
        )
        with warnings.catch_warnings():
            warnings.filterwarnings("ignore", message=".*fork", category=DeprecationWarning)
            read = iter(loader)
        for part in read:
            if isinstance(part, tuple):
                raise part[0](part[1], hint=part[2])
            yield torch.from_numpy(part)


class _Parts(Dataset[Any]):
    """A reader as torch's dataset, where an index is the rows of a part."""

    def __init__(self, reader: Reader) -> None:
        self._reader = reader

    def __getitem__(self, rows: NDArray[np.intp]) -> Any:
        try:
            return _read_all(self._reader, rows)
        except RegplugError as error:
            # The loader would put the worker's traceback into the message.
            return type(error), error.message, error.hint


def _cores() -> int:
    # Fewer than the machine has where the process may not use them all; some systems cannot tell.
    return len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1


def _unchanged(part: Any) -> Any:
    return part


def _read_all(reader: Reader, rows: NDArray[np.intp]) -> Array:
    read = np.empty((len(rows), *reader.shape), reader.dtype)
    for at, row in enumerate(rows):
        read[at] = reader.read(int(row))
    return read


def chunks_of(shape: Sequence[int]) -> list[slice]:
    """Returns the parts in which a pass over all rows takes an array or lazy rows of this shape.

    >>> chunks_of((5000, 3))
    [slice(0, 4096, None), slice(4096, 5000, None)]
    """
    numbers = max(1, int(np.prod(shape[1:])))
    size = max(1, min(MOST_ROWS_AT_ONCE, NUMBERS_AT_ONCE // numbers))
    return [slice(start, min(start + size, shape[0])) for start in range(0, shape[0], size)]


def in_chunks(x: Any) -> Iterator[Array]:
    """Yields all rows of an array, or of lazy rows, in parts that fit into memory."""
    parts = chunks_of(x.shape)
    if isinstance(x, LazyRows):
        yield from (part.numpy() for part in x.in_turn(parts))
    else:
        yield from (x[part] for part in parts)
