"""Folds of a cross-validation as separate datasets: each is normalised by its own training rows."""

from __future__ import annotations

import dataclasses
from collections.abc import Sequence
from typing import Any

import numpy as np

from regplug.data.raw import RawData, Split
from regplug.errors import DataError
from regplug.seeds import derive_seed


def fold_data(raw: RawData, *, fold: int, folds: int, repeat: int, data_seed: int) -> RawData:
    """Returns the data of one fold: the training and validation rows, split again; the test split is unchanged.

    A classification is stratified by class. If the data have groups, the rows of a group stay in one fold. Parts are
    trimmed to the size of the smallest fold's, so that folds can be stacked.

    Args:
        raw: The dataset with its own splits.
        fold: Index of the fold that validates, from 0.
        folds: Number of folds.
        repeat: Index of the repetition; each draws new folds.
        data_seed: The data seed.

    Raises:
        DataError: There are more folds than rows or groups, or a class is missing in a fold.
    """
    pooled = pool_rows(raw)
    parts = _parts(pooled, folds, derive_seed(data_seed, "folds", repeat), raw)
    valid_size = min(len(valid) for _, valid in parts)
    train_size = min(len(train) for train, _ in parts)
    train, valid = parts[fold]
    return dataclasses.replace(
        raw,
        train=pooled.take(train[:train_size]),
        valid=pooled.take(valid[:valid_size]),
        groups=None,
        weights=None if raw.weights is None else raw.weights[np.concatenate([train[:train_size], valid[:valid_size]])],
    )


def trimming_note(raw: RawData, folds: int, data_seed: int) -> str:
    """Returns a note on how many rows are trimmed to make the folds equal; empty if none are.

    Args:
        raw: The dataset with its own splits.
        folds: Number of folds.
        data_seed: The data seed.
    """
    pooled = pool_rows(raw)
    parts = _parts(pooled, folds, derive_seed(data_seed, "folds", 0), raw)
    sizes = [len(valid) for _, valid in parts]
    if min(sizes) == max(sizes):
        return ""
    return (
        f"{len(pooled)} rows in {folds} folds: validation parts of {min(sizes)} to {max(sizes)} rows are trimmed to "
        f"{min(sizes)}, training parts to {len(pooled) - max(sizes)}, so that the folds are equal and can be stacked."
    )


def pool_rows(raw: RawData) -> Split:
    """Returns the training and validation rows together, in this order."""
    if raw.valid is None:
        return raw.train
    return raw.train.joined(raw.valid)


def _parts(pooled: Split, folds: int, seed: int, raw: RawData) -> Sequence[tuple[Any, Any]]:
    from sklearn import model_selection

    if folds > len(pooled):
        raise DataError(
            f"{folds} folds were requested, but {raw.name} has {len(pooled)} training rows.",
            hint=f"Choose --folds {len(pooled)} or less.",
        )
    is_classification = raw.task.is_classification
    if is_classification:
        _check_classes(pooled.y, folds, raw)
    groups = raw.groups
    if groups is not None and len(groups) != len(pooled):
        raise DataError(f"{raw.name} has {len(groups)} groups for {len(pooled)} training and validation rows.")
    if groups is not None and len(np.unique(groups)) < folds:
        raise DataError(
            f"{folds} folds were requested, but the rows of {raw.name} have {len(np.unique(groups))} groups.",
            hint="Choose fewer --folds: each group stays in one fold.",
        )
    options = {"n_splits": folds, "shuffle": True, "random_state": seed % 2**32}
    if groups is None:
        splitter = model_selection.StratifiedKFold if is_classification else model_selection.KFold
    else:
        splitter = model_selection.StratifiedGroupKFold if is_classification else model_selection.GroupKFold
    parts = list(splitter(**options).split(pooled.y, pooled.y, groups))
    if groups is not None and is_classification:
        _check_fold_classes(pooled.y, parts, raw)
    # Trimming removes the last rows. Folds come sorted, so those could all be of one class.
    order = np.random.default_rng(seed)
    return [(order.permutation(train), order.permutation(valid)) for train, valid in parts]


def _check_classes(y: Any, folds: int, raw: RawData) -> None:
    counts = np.bincount(y, minlength=raw.task.num_outputs)
    rare = [i for i, count in enumerate(counts) if count < folds]
    if rare:
        names = ", ".join(f"{raw.task.class_names[i] if raw.task.class_names else i} ({counts[i]} rows)" for i in rare)
        raise DataError(
            f"With {folds} folds a class would be missing in a fold: {names}.",
            hint=f"Choose --folds {max(2, int(counts.min()))} or less, or leave rare classes out.",
        )


def _check_fold_classes(y: Any, parts: Sequence[tuple[Any, Any]], raw: RawData) -> None:
    """Checks that every fold has every class; groups may put all rows of a class into one fold."""
    for fold, each in enumerate(parts):
        missing = [i for i in np.unique(y) if any(i not in y[rows] for rows in each)]
        if missing:
            names = ", ".join(raw.task.class_names[i] if raw.task.class_names else str(i) for i in missing)
            raise DataError(
                f"Fold {fold} of {len(parts)} has no row of {names} in its training or its validation part, because "
                f"of the groups.",
                hint="Choose fewer --folds, or coarser or other groups.",
            )
