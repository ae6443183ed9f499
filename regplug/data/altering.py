"""Data made harder on purpose: wrong labels, fewer rows, noisy test inputs; and rows that stand in two splits."""

from __future__ import annotations

import dataclasses

import numpy as np
import torch
from torch import Tensor

from regplug.data.inputs import Inputs, Noisy, all_in_chunks
from regplug.data.raw import Array, RawData, Split
from regplug.data.tensors import Prepared
from regplug.errors import DataError
from regplug.seeds import derive_seed
from regplug.tables.preparation import Preparation


def alter_training(raw: RawData, *, train_rows: int = 0, label_noise: float = 0.0, seed: int = 0) -> RawData:
    """Returns the data with fewer training rows and with some training labels replaced; other splits stay as they are.

    Args:
        raw: The data.
        train_rows: Rows to keep, at random; the smaller of two subsets lies within the larger. 0 keeps all.
        label_noise: Share of the training rows that get another class, each other class with equal probability.
        seed: The data's seed.

    Raises:
        DataError: There are fewer rows, or labels of a regression should be replaced.
    """
    if train_rows:
        raw = _keep_rows(raw, train_rows, seed)
    if label_noise:
        raw = dataclasses.replace(raw, train=_with_wrong_labels(raw, label_noise, seed))
    return raw


def _keep_rows(raw: RawData, number: int, seed: int) -> RawData:
    if number > len(raw.train):
        raise DataError(
            f"train_rows={number} asks for more than the {len(raw.train)} training rows of {raw.name}.",
            hint="0 keeps all.",
        )
    order = np.random.default_rng(derive_seed(seed, "train_rows", "kept")).permutation(len(raw.train))
    kept = np.sort(order[:number])
    others = np.arange(len(raw.train), len(raw.train) + (0 if raw.valid is None else len(raw.valid)))
    by_row = {
        field.name: getattr(raw, field.name)[np.concatenate([kept, others])]
        for field in dataclasses.fields(raw)
        if field.name in ("groups", "weights") and getattr(raw, field.name) is not None
    }
    return dataclasses.replace(raw, train=raw.train.take(kept), **by_row)


def _with_wrong_labels(raw: RawData, share: float, seed: int) -> Split:
    if not raw.task.is_classification:
        raise DataError(
            f"label_noise={share:g} replaces the class of a row, but the task of {raw.name} is a {raw.task.words}.",
            hint="Leave it out; for a regression, generated data have a noise of their own.",
        )
    generator = np.random.default_rng(derive_seed(seed, "label_noise"))
    y: Array = raw.train.y.copy()
    wrong = generator.permutation(len(y))[: round(share * len(y))]
    y[wrong] = (y[wrong] + generator.integers(1, raw.task.num_outputs, len(wrong))) % raw.task.num_outputs
    return Split(x=raw.train.x, y=y)


def noisy_test_inputs(data: Prepared, strength: float, seed: int) -> Inputs:
    """Returns the test inputs plus normal noise; in a table only numbers are noisy, not categories.

    Args:
        data: What a run trains on.
        strength: Standard deviation of the noise over that of the training rows, by column or channel.
        seed: The data's seed.
    """
    if data.preparation is not None:
        return _noisy_cells(data, data.preparation, strength, seed)
    test = data.test.x
    noisy = Noisy(test, strength * _deviation(data.train.x), seed)
    return noisy[:] if isinstance(test, Tensor) else noisy


def _deviation(x: Inputs) -> Tensor:
    """Standard deviation by column, channel or last axis, of a shape that goes with a batch (n in the denominator)."""
    axes = (0, 2, 3) if x.ndim == 4 else tuple(range(x.ndim - 1))
    first = x[:1].double().mean(axes, keepdim=True)
    total, squares, count = torch.zeros_like(first), torch.zeros_like(first), 0
    for chunk in all_in_chunks(x):
        # Moved by a value of the data: a small spread about a large mean would be lost in the sum of squares.
        moved = chunk.double() - first
        total += moved.sum(axes, keepdim=True)
        squares += moved.square().sum(axes, keepdim=True)
        count += moved.numel() // first.numel()
    return (squares / count - (total / count).square()).clamp_min(0).sqrt().to(x.dtype)


def _noisy_cells(data: Prepared, preparation: Preparation, strength: float, seed: int) -> Tensor:
    """Adds noise in the units of the table. Categories and empty cells do not change."""
    cells_BC = data.raw.test.x.astype(np.float64)
    numbers = [at for at, fitted in enumerate(preparation.columns) if fitted.column.kind == "number"]
    known = np.ma.masked_invalid(data.raw.train.x[:, numbers].astype(np.float64))
    generator = torch.Generator().manual_seed(derive_seed(seed, "test_noise"))
    noise = torch.randn((len(cells_BC), len(numbers)), generator=generator, dtype=torch.float64).numpy()
    cells_BC[:, numbers] += strength * np.ma.filled(known.std(axis=0), 0.0) * noise
    x = torch.from_numpy(preparation.apply(cells_BC.astype(np.float32)))
    noisy: Tensor = data.preprocess(x).to(data.test.x)
    return noisy


def repeated_rows(raw: RawData) -> dict[str, int]:
    """Counts the validation and test rows whose inputs are also a training row's, by split; zeros are left out."""

    def digests(split: Split) -> list[bytes]:
        return [row.tobytes() for row in split.row_digests]

    known = set(digests(raw.train))
    counts = {name: sum(one in known for one in digests(split)) for name, split in raw.splits() if name != "train"}
    return {name: count for name, count in counts.items() if count}


def repetition_note(raw: RawData) -> str:
    """Says how many rows of other splits the training split has; empty where it has none."""
    sizes = {name: len(split) for name, split in raw.splits()}
    counts = repeated_rows(raw).items()
    parts = [f"{count} of the {sizes[name]} {name} rows ({count / sizes[name]:.1%})" for name, count in counts]
    if not parts:
        return ""
    return f"{raw.name}: {' and '.join(parts)} have the inputs of a training row, so metrics may be too good."
