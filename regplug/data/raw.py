"""What a dataset returns: raw arrays, and what they are.

Shape letters: B rows, C channels, H height, W width, F columns, K outputs.
"""

from __future__ import annotations

import hashlib
from collections.abc import Iterator
from dataclasses import dataclass
from functools import cached_property
from typing import Any, Literal

import numpy as np
from numpy.typing import NDArray

from regplug.api import Task
from regplug.data.lazy import LazyRows, in_chunks
from regplug.tables.fitting import TablePlan

Array = NDArray[Any]
Normalization = Literal["none", "unit", "standard", "fixed"]


@dataclass(frozen=True, kw_only=True)
class Split:
    """Raw rows and their targets.

    Args:
        x: Images `(B, C, H, W)`, rows `(B, F)` or other arrays `(B, ...)`, of the dtype in `InputSpec`; or `LazyRows`
            that are read while a run trains, where the array would not fit into memory.
        y: Classes int64 `(B,)`; or values, or labels of 0 and 1, of a float dtype `(B, K)`.
    """

    x: Any
    y: Array

    def __len__(self) -> int:
        return len(self.x)

    def __getstate__(self) -> dict[str, Any]:
        # Without the digests: whoever gets a copy computes those of the rows that arrived.
        return {"x": self.x, "y": self.y}

    def take(self, index: NDArray[np.intp]) -> Split:
        """Returns the rows at `index`, in its order."""
        return Split(x=self.x.take(index) if isinstance(self.x, LazyRows) else self.x[index], y=self.y[index])

    def joined(self, other: Split) -> Split:
        """Returns these rows, followed by others."""
        mine, others = self.x, other.x
        y = np.concatenate([self.y, other.y])
        if isinstance(mine, LazyRows) and isinstance(others, LazyRows) and mine.reader is others.reader:
            return Split(x=LazyRows(mine.reader, np.concatenate([mine.rows, others.rows]), workers=mine.workers), y=y)
        return Split(x=np.concatenate([mine, others]), y=y)

    @cached_property
    def row_digests(self) -> Array:
        """BLAKE2b of the bytes of each row's inputs, uint8 `(B, 16)`; computed once, as it reads every row."""
        # Joined for each chunk: a million digests one by one would take half of the memory of 30 columns.
        digests = [
            b"".join(hashlib.blake2b(row.tobytes(), digest_size=16).digest() for row in np.ascontiguousarray(chunk))
            for chunk in in_chunks(self.x)
        ]
        return np.frombuffer(b"".join(digests), dtype=np.uint8).reshape(-1, 16)


@dataclass(frozen=True, kw_only=True)
class InputSpec:
    """Describes one raw input.

    Args:
        layout: `image`, `row`, or `array` for any other shape, such as sequences `(T, F)`.
        shape: Shape without the batch axis: `(C, H, W)`, `(F,)` or another.
        dtype: Of the raw input.
        low: Least value it can take, where one is known.
        high: Greatest value it can take, where one is known.
        names: Column names of a row; empty where they have none.
    """

    layout: Literal["image", "row", "array"]
    shape: tuple[int, ...]
    dtype: Literal["uint8", "float32"]
    low: float | None = None
    high: float | None = None
    names: tuple[str, ...] = ()


@dataclass(frozen=True, kw_only=True)
class RawData:
    """What a dataset returns.

    Args:
        name: Of the dataset.
        train: What is learned from.
        valid: What decisions during training are made on; `None` where there is none.
        test: What is looked at once, at the end.
        task: What is learned.
        inputs: What one raw input looks like.
        normalize: `none`; `unit`: the declared range to [0, 1]; `standard`: mean 0 and standard deviation 1 over the
            training split, per column or per channel; `fixed`: the constants in `fixed`.
        fixed: Mean and standard deviation in units of the raw input, for `normalize="fixed"`.
        source: Where the data come from.
        groups: For each training row, then each validation row, the group that folds keep together, `(B,)`; or `None`.
        weights: For each training row, then each validation row, what its loss counts in training, `(B,)`; or `None`.
        table: How the codes of a table become numbers, where `x` are such codes; see `regplug.tables.preparation`.
        scale_targets: Whether a regression learns targets of mean 0 and standard deviation 1 over the training split.
        notes: What a user should know of them.
    """

    name: str
    train: Split
    test: Split
    task: Task
    inputs: InputSpec
    valid: Split | None = None
    normalize: Normalization = "none"
    fixed: tuple[float, float] | None = None
    source: str = ""
    groups: Array | None = None
    weights: Array | None = None
    table: TablePlan | None = None
    scale_targets: bool = False
    notes: tuple[str, ...] = ()

    def splits(self) -> Iterator[tuple[str, Split]]:
        """Yields the name and the rows of each split that there is."""
        yield "train", self.train
        if self.valid is not None:
            yield "valid", self.valid
        yield "test", self.test


def digest(raw: RawData) -> str:
    """Returns the SHA-256 of shape, dtype and contents of every array of every split, hexadecimal."""
    sha = hashlib.sha256()
    for split_name, split in raw.splits():
        sha.update(f"{split_name}:".encode())
        update_digest(sha, split)
    return sha.hexdigest()


def update_digest(sha: Any, split: Split) -> None:
    """Adds the shapes, dtypes and contents of a split to a hash; inputs count by the digests of their rows."""
    for array, content in ((split.x, split.row_digests), (split.y, split.y)):
        sha.update(f"{array.shape}:{array.dtype.str};".encode())
        sha.update(np.ascontiguousarray(content).data)
