"""Which rows go where: the order of an epoch, and the parts of a dataset."""

from __future__ import annotations

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from regplug.data.drawing import draw_rows
from regplug.data.raw import Array
from regplug.errors import DataError
from regplug.seeds import derive_seed


def order(num_rows: int, seed: int, epoch: int | str, shuffle: bool = True) -> Tensor:
    """Returns the order of the training rows in one epoch, int64 `(num_rows,)`, on the CPU.

    It depends on its arguments alone, so a run that goes on needs no generator's state.

    Args:
        num_rows: Rows of the training split.
        seed: The run's seed.
        epoch: From 0, or a word for a pass that is no epoch.
        shuffle: `False` gives the rows as they stand.
    """
    if not shuffle:
        return torch.arange(num_rows)
    generator = torch.Generator().manual_seed(derive_seed(seed, "order", epoch))
    return torch.randperm(num_rows, generator=generator)


def split_indices(
    num_rows: int, *, valid: float, test: float, seed: int, labels: Array | None = None
) -> tuple[NDArray[np.intp], NDArray[np.intp], NDArray[np.intp]]:
    """Splits rows at random into training, validation and test rows.

    Args:
        num_rows: Rows to part.
        valid: Validation rows: a share of `num_rows` below 1, or a number of rows from 1 on; 0 for none.
        test: Test rows, likewise.
        seed: The data's seed.
        labels: Classes `(num_rows,)`: each part then has nearly the same share of each class.

    Returns:
        Indices of the training, validation and test rows, each ascending; together each row once.

    Raises:
        DataError: Too few rows, in all or of one class, for these parts.
    """
    parts = (valid, test)
    sizes = [round(part * num_rows) if part < 1 else int(part) for part in parts]
    is_empty = any(part > 0 and size == 0 for part, size in zip(parts, sizes, strict=True))
    # Rounding may leave a training row although the shares leave none.
    if is_empty or sum(sizes) >= num_rows or sum(part for part in parts if part < 1) >= 1:
        raise DataError(
            f"{num_rows} rows cannot be split into {sizes[0]} validation, {sizes[1]} test and some training rows.",
            hint="Choose other shares: each split that is asked for needs a row, and so does the training split.",
        )
    rest, part_of = np.arange(num_rows), np.zeros(num_rows, dtype=np.uint8)
    for number, (purpose, size) in enumerate(zip(("valid", "test"), sizes, strict=True), start=1):
        rest, out = _part(rest, size, derive_seed(seed, "split", purpose), labels)
        part_of[out] = number
    train, validation, testing = (np.flatnonzero(part_of == number) for number in range(3))
    return train, validation, testing


def _part(
    rows: NDArray[np.intp], size: int, seed: int, labels: Array | None
) -> tuple[NDArray[np.intp], NDArray[np.intp]]:
    if size == 0:
        return rows, rows[:0]
    try:
        rest, out = draw_rows(len(rows), size, seed % 2**32, None if labels is None else labels[rows])
    except ValueError as error:
        raise DataError(
            f"{len(rows)} rows cannot be split with the same share of each class: {error}.",
            hint="Leave out or merge the rare classes, or ask for larger or fewer splits.",
        ) from error
    return rows[rest], rows[out]


def split_groups(
    groups: Array, *, valid: float, test: float, seed: int
) -> tuple[NDArray[np.intp], NDArray[np.intp], NDArray[np.intp]]:
    """Splits rows like `split_indices`, but by whole groups: no group is in two parts.

    Args:
        groups: The group of each row `(B,)`.
        valid: Share or number of groups that validate; 0 for none.
        test: Share or number of groups that test.
        seed: The data's seed.

    Raises:
        DataError: Too few groups for these parts.
    """
    names, members = np.unique(groups, return_inverse=True)
    try:
        parts = split_indices(len(names), valid=valid, test=test, seed=seed)
    except DataError as error:
        raise DataError(f"By groups: {error.message.replace(' rows', ' groups', 1)}", hint=error.hint) from error
    train, validation, testing = (np.flatnonzero(np.isin(members, part)) for part in parts)
    return train, validation, testing


def split_ordered(
    keys: Array, *, valid: float, test: float
) -> tuple[NDArray[np.intp], NDArray[np.intp], NDArray[np.intp]]:
    """Parts rows as `split_indices` does, in an order: the last rows test, and those before them validate.

    Args:
        keys: What orders the rows `(B,)`; rows of equal keys stay as they stand.
        valid: Share or number of validation rows; 0 for none.
        test: Share or number of test rows.

    Raises:
        DataError: Too few rows for these parts.
    """
    ordered = np.argsort(keys, kind="stable")
    train, validation, testing = (len(part) for part in split_indices(len(keys), valid=valid, test=test, seed=0))
    parts = np.split(ordered, [train, train + validation])
    return parts[0], parts[1], parts[2][:testing]
