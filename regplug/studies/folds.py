"""Folds of a cross-validation, as datasets of their own: each is normalised by its own training rows."""

from __future__ import annotations

import dataclasses
from collections.abc import Sequence
from typing import Any

import numpy as np

from regplug.data import RawData, Split
from regplug.errors import DataError
from regplug.seeds import derive_seed


def fold_data(raw: RawData, *, fold: int, folds: int, repeat: int, data_seed: int, groups: Any = None) -> RawData:
    """Returns the data of one fold: what was training and validation, parted anew; the test split stays.

    Stratified by class where there are classes. Parts are trimmed to the smallest fold's, so that folds can be stacked.

    Args:
        raw: The dataset with its own splits.
        fold: Which fold validates, from 0.
        folds: How many there are.
        repeat: Which repetition; each draws its folds anew.
        data_seed: The data's seed.
        groups: For each row of training then validation a group that stays in one fold; `None` for none.

    Raises:
        DataError: More folds than rows, or a class that is missing in a fold.
    """
    pooled = pool_rows(raw)
    parts = _parts(pooled, folds, derive_seed(data_seed, "folds", repeat), groups, raw)
    valid_size = min(len(valid) for _, valid in parts)
    train_size = min(len(train) for train, _ in parts)
    train, valid = parts[fold]
    return dataclasses.replace(raw, train=pooled.take(train[:train_size]), valid=pooled.take(valid[:valid_size]))


def trimmed_rows(raw: RawData, folds: int) -> int:
    """How many rows the smallest fold leaves out of the others, at most: what trimming costs."""
    return len(pool_rows(raw)) % folds


def pool_rows(raw: RawData) -> Split:
    """Training and validation rows together, in this order."""
    if raw.valid is None:
        return raw.train
    return Split(x=np.concatenate([raw.train.x, raw.valid.x]), y=np.concatenate([raw.train.y, raw.valid.y]))


def _parts(pooled: Split, folds: int, seed: int, groups: Any, raw: RawData) -> Sequence[tuple[Any, Any]]:
    from sklearn import model_selection

    if folds > len(pooled):
        raise DataError(
            f"{folds} folds were asked for, and {raw.name} has {len(pooled)} training rows.",
            hint=f"Choose --folds {len(pooled)} or less.",
        )
    is_classification = raw.task.is_classification
    if is_classification:
        _check_classes(pooled.y, folds, raw)
    options = {"n_splits": folds, "shuffle": True, "random_state": seed % 2**32}
    if groups is None:
        splitter = model_selection.StratifiedKFold if is_classification else model_selection.KFold
    else:
        splitter = model_selection.StratifiedGroupKFold if is_classification else model_selection.GroupKFold
    parts = list(splitter(**options).split(pooled.x, pooled.y, groups))
    # Trimming takes the last rows, which must not be those of one class: folds come sorted.
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
