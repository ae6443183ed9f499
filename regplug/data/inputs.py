"""Where normalised inputs come from while a run trains: a tensor, or what is normalised when a batch needs it.

A loop takes inputs by their row numbers and does not know which of these it has; each gives the same bits.

Shape letters: B rows.
"""

from __future__ import annotations

import math
from abc import ABC, abstractmethod
from collections.abc import Iterator, Sequence
from typing import Any

import torch
from torch import Tensor, nn

from regplug.data.lazy import LazyRows, chunks_of
from regplug.seeds import derive_seed


class FetchedRows(ABC):
    """Normalised inputs `(B, ...)` that are made when they are asked for.

    Args:
        shape: Of all of them, `(B, ...)`.
        dtype: Floating, of what is returned.
        device: Where it lies.
    """

    def __init__(self, shape: Sequence[int], dtype: torch.dtype, device: torch.device) -> None:
        self.shape, self.dtype, self.device = torch.Size(shape), dtype, device

    def __len__(self) -> int:
        return self.shape[0]

    @property
    def ndim(self) -> int:
        """Number of axes, that of the rows included."""
        return len(self.shape)

    def is_floating_point(self) -> bool:
        """Normalised inputs always are."""
        return True

    def element_size(self) -> int:
        """Returns the bytes of one number."""
        return self.dtype.itemsize

    def new_ones(self, shape: Sequence[int]) -> Tensor:
        """Returns ones of the same dtype, on the same device."""
        return torch.ones(shape, dtype=self.dtype, device=self.device)

    @abstractmethod
    def __getitem__(self, rows: Any) -> Tensor:
        """Returns the rows of a slice, or of row numbers of any shape `(..., )`, as `(..., *shape of one)`."""

    @abstractmethod
    def in_turn(self, parts: Sequence[Any], at_once: int = 1) -> Iterator[Tensor]:
        """Yields the rows of each part in order, and may read ahead.

        Args:
            parts: The index of each part, as for `[]`.
            at_once: How many parts may be gathered together.
        """


Inputs = Tensor | FetchedRows


class KeptRaw(FetchedRows):
    """Raw inputs in memory, normalised when they are asked for.

    Args:
        raw: `(B, ...)`, uint8, on the device.
        preprocess: The normalisation, there too.
        dtype: Of the normalised inputs.
    """

    def __init__(self, raw: Tensor, preprocess: nn.Module, dtype: torch.dtype) -> None:
        super().__init__(raw.shape, dtype, raw.device)
        self._raw, self._preprocess = raw, preprocess

    def __getitem__(self, rows: Any) -> Tensor:
        """Returns normalised rows."""
        return self._normalised(_gather(self._raw, rows))

    def in_turn(self, parts: Sequence[Any], at_once: int = 1) -> Iterator[Tensor]:
        """Yields normalised rows; they are gathered together, and normalised one part at a time."""
        yield from map(self._normalised, _gathered_in_turn(self._raw, parts, at_once))

    @torch.no_grad()
    def _normalised(self, raw: Tensor) -> Tensor:
        return self._preprocess(raw)  # type: ignore[no-any-return] # a module's call is untyped


class Streamed(FetchedRows):
    """Inputs that are read while the run trains.

    Args:
        lazy: Reads them.
        preprocess: The normalisation, on the device.
        dtype: Of the normalised inputs.
        device: Where they go.
    """

    def __init__(self, lazy: LazyRows, preprocess: nn.Module, dtype: torch.dtype, device: torch.device) -> None:
        super().__init__(lazy.shape, dtype, device)
        self._lazy, self._preprocess = lazy, preprocess

    def __getitem__(self, rows: Any) -> Tensor:
        """Reads rows in this process and returns them normalised."""
        return self._normalised(torch.from_numpy(self._lazy[_as_index(rows)]))

    def in_turn(self, parts: Sequence[Any], at_once: int = 1) -> Iterator[Tensor]:
        """Reads ahead in worker processes."""
        indices = [_as_index(part) for part in parts]
        shapes = [getattr(index, "shape", (-1,)) for index in indices]
        flat = [index if isinstance(index, slice) else index.reshape(-1) for index in indices]
        for raw, shape in zip(self._lazy.in_turn(flat), shapes, strict=True):
            yield self._normalised(raw.view(*shape, *self.shape[1:]))

    @torch.no_grad()
    def _normalised(self, raw: Tensor) -> Tensor:
        return self._preprocess(raw.to(self.device))  # type: ignore[no-any-return] # a module's call is untyped


class Noisy(FetchedRows):
    """Inputs plus normal noise that depends on the row's number alone.

    Args:
        x: The inputs.
        scale: Standard deviation of the noise, of a shape that goes with one batch.
        seed: Of the noise.
    """

    ROWS = 256
    """Rows whose noise is drawn together."""

    def __init__(self, x: Inputs, scale: Tensor, seed: int) -> None:
        super().__init__(x.shape, x.dtype, x.device)
        self._x, self._scale, self._seed = x, scale, seed

    def __getitem__(self, rows: Any) -> Tensor:
        """Returns noisy rows."""
        return self._x[rows] + self._scale * self._noise(rows)

    def in_turn(self, parts: Sequence[Any], at_once: int = 1) -> Iterator[Tensor]:
        """Yields noisy rows."""
        for part, x in zip(parts, rows_in_turn(self._x, parts, at_once), strict=True):
            yield x + self._scale * self._noise(part)

    def _noise(self, rows: Any) -> Tensor:
        numbers = torch.arange(len(self))[rows.cpu() if isinstance(rows, Tensor) else rows]
        blocks, position = torch.unique(numbers // self.ROWS, return_inverse=True)
        drawn = torch.stack([self._block(int(block)) for block in blocks])
        return drawn[position, numbers % self.ROWS].to(device=self.device, dtype=self.dtype)

    def _block(self, number: int) -> Tensor:
        generator = torch.Generator().manual_seed(derive_seed(self._seed, "test_noise", number))
        return torch.randn((self.ROWS, *self.shape[1:]), generator=generator)


def rows_in_turn(x: Inputs, parts: Sequence[Any], at_once: int = 1) -> Iterator[Tensor]:
    """Yields the rows of each part in order; see `FetchedRows.in_turn`."""
    return x.in_turn(parts, at_once) if isinstance(x, FetchedRows) else _gathered_in_turn(x, parts, at_once)


def all_in_chunks(x: Inputs) -> Iterator[Tensor]:
    """Yields all rows in order, in parts that fit into memory."""
    return rows_in_turn(x, chunks_of(x.shape))


def _gathered_in_turn(x: Tensor, parts: Sequence[Any], at_once: int) -> Iterator[Tensor]:
    for start in range(0, len(parts), at_once):
        block = parts[start : start + at_once]
        if len(block) == 1 or isinstance(block[0], slice):
            yield from (_gather(x, part) for part in block)
        else:
            axis = block[0].ndim - 1
            yield from torch.split(_gather(x, torch.cat(list(block), axis)), [part.shape[axis] for part in block], axis)


def _gather(x: Tensor, rows: Any) -> Tensor:
    return x.index_select(0, rows) if isinstance(rows, Tensor) and rows.ndim == 1 else x[rows]


def _as_index(rows: Any) -> Any:
    return rows.numpy(force=True) if isinstance(rows, Tensor) else rows


def size_bytes(shape: Sequence[int], itemsize: int) -> int:
    """Returns the memory of an array."""
    return math.prod(shape) * itemsize
