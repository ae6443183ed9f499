"""Checks raw data before a run trains on it."""

from __future__ import annotations

from typing import Any

import numpy as np

from regplug.data.lazy import chunks_of, in_chunks
from regplug.data.raw import Array, RawData, Split
from regplug.errors import DataError


def check_split(raw: RawData, name: str, split: Split) -> None:
    """Raises `DataError` where the split is not what `raw` declares, or a number in it is not finite."""
    where = f"Dataset {raw.name}, {name} split"
    expected = (len(split.y), *raw.inputs.shape)
    if len(split) == 0:
        raise DataError(f"{where}: it has no rows.", hint="Every split needs at least one row.")
    if split.x.shape != expected:
        raise DataError(f"{where}: inputs have shape {split.x.shape}; {len(split.y)} targets require {expected}.")
    if split.x.dtype != np.dtype(raw.inputs.dtype):
        raise DataError(f"{where}: inputs are {split.x.dtype}, but are declared as {raw.inputs.dtype}.")
    _check_targets(raw, name, where, split.y)
    if raw.table is None:
        _check_finite(where, split.x, raw.inputs.names)


def _check_targets(raw: RawData, name: str, where: str, y: Array) -> None:
    num_outputs = raw.task.num_outputs
    if raw.task.is_classification:
        if num_outputs < 2:
            raise DataError(f"{where}: a classification needs two classes or more, but the task has {num_outputs}.")
        if y.ndim != 1 or y.dtype != np.int64:
            raise DataError(f"{where}: classes must be int64 of shape (rows,), got {y.dtype} of shape {y.shape}.")
        if y.min() < 0 or y.max() >= num_outputs:
            raise DataError(
                f"{where}: classes run from {y.min()} to {y.max()}; {num_outputs} classes are numbered 0 to "
                f"{num_outputs - 1}."
            )
        return
    if y.ndim != 2 or y.shape[1] != num_outputs or y.dtype.kind != "f":
        raise DataError(f"{where}: targets must be floating of shape (rows, {num_outputs}), got {y.dtype} {y.shape}.")
    _check_finite(f"{where}, target", y, ())
    if raw.task.is_multilabel and not np.isin(y, (0, 1)).all():
        row, column = (int(i) for i in np.argwhere(~np.isin(y, (0, 1)))[0])
        raise DataError(f"{where}: the label in row {row}, column {column} is {y[row, column]:g}; labels are 0 or 1.")
    if raw.scale_targets and len(y) > 1 and name == "train" and (y == y[0]).all():
        raise DataError(
            f"{where}: the target is {', '.join(f'{value:g}' for value in y[0])} in every row.",
            hint="There is nothing to learn. Is it the right target?",
        )


def _check_finite(where: str, x: Any, names: tuple[str, ...]) -> None:
    if x.dtype.kind != "f":
        return
    first, count = "", 0
    for part, chunk in zip(chunks_of(x.shape), in_chunks(x), strict=True):
        odd = ~np.isfinite(chunk)
        count += int(odd.sum())
        if count and not first:
            row, *position = (int(i) for i in np.argwhere(odd)[0])
            column = names[position[0]] if names else ", ".join(map(str, position))
            first = f"{where}: the value in row {part.start + row}, column {column} is {chunk[(row, *position)]}"
    if count:
        others = f"; {count} values are not finite" if count > 1 else ""
        raise DataError(f"{first}{others}.", hint="Rows are counted from 0. Fill the values or leave the rows out.")
