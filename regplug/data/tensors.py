"""The normalised tensors that a run trains on.

Shape letters: B rows, C channels, H height, W width, F columns, K outputs.
"""

from __future__ import annotations

import copy
import dataclasses
from dataclasses import dataclass
from typing import Any, Literal

import numpy as np
import torch
from torch import Tensor, nn

from regplug.api import Feature, Task
from regplug.data.checks import check_split
from regplug.data.inputs import Inputs, KeptRaw, Streamed, size_bytes
from regplug.data.lazy import LazyRows, in_chunks
from regplug.data.raw import Array, InputSpec, RawData, Split, digest
from regplug.data.units import Units, fit_units
from regplug.errors import DataError
from regplug.tables.preparation import Preparation


def features_of(preparation: Preparation) -> tuple[Feature, ...]:
    """Which columns of a prepared row are one feature, in their order."""
    features, start = [], 0
    for fitted in preparation.columns:
        stop = start + len(fitted.column.features)
        features.append(Feature(name=fitted.column.name, kind=fitted.column.kind, start=start, stop=stop))
        start = stop
    return tuple(features)


class Normalize(nn.Module):
    """Normalises raw input: `(x.to(dtype) - shift) * scale`, in training and in evaluation.

    Args:
        shift: `()`, `(F,)` or `(C, 1, 1)`, of the dtype of the result.
        scale: Of the same shape and dtype.
    """

    shift: Tensor
    scale: Tensor

    def __init__(self, shift: Tensor, scale: Tensor) -> None:
        super().__init__()
        self.register_buffer("shift", shift)
        self.register_buffer("scale", scale)

    def forward(self, x: Tensor) -> Tensor:
        """Returns the normalised input, in the dtype of the buffers."""
        return (x.to(self.shift.dtype) - self.shift) * self.scale


@dataclass(frozen=True, kw_only=True)
class TensorSplit:
    """Normalised rows and their targets, on the run's device.

    Args:
        x: Of the shape of `Split.x`, floating; a tensor, or rows that are normalised when a batch needs them.
        y: Classes int64 `(B,)`; floating values, or labels of 0 and 1, `(B, K)`.
    """

    x: Inputs
    y: Tensor

    def __len__(self) -> int:
        return len(self.x)


@dataclass(frozen=True, kw_only=True)
class Prepared:
    """Data ready to train on.

    Args:
        train: Normalised.
        valid: Normalised, or `None`.
        test: Normalised.
        preprocess: The normalisation, fitted on the training split; on the CPU.
        raw: What it was made of.
        digest: SHA-256 of the raw rows of all splits, hexadecimal.
        kept: How the inputs are kept while the run trains, in words.
        inputs: What one input of an exported file looks like.
        file_test: The test rows as an exported file takes them, and their targets in the user's units.
        file_valid: The same of the validation rows, or `None`.
        preparation: What happens to a row of a table before an exported file takes it; `None` where nothing does.
        units: Scaled outputs of a regression to the user's units; `None` where the targets are not scaled.
        weights: What the loss of each training row counts, of mean 1, `(B,)`; `None` where all count the same.
    """

    train: TensorSplit
    valid: TensorSplit | None
    test: TensorSplit
    preprocess: Normalize
    raw: RawData
    digest: str
    inputs: InputSpec
    file_test: Split
    file_valid: Split | None = None
    kept: str = ""
    preparation: Preparation | None = None
    units: Units | None = None
    weights: Tensor | None = None

    @property
    def task(self) -> Task:
        """What is learned."""
        return self.raw.task

    @property
    def limits(self) -> dict[str, Tensor]:
        """`low` and `high`: least and greatest normalised input, each where the dataset declares one."""
        shift = self.preprocess.shift
        ends = {"low": self.inputs.low, "high": self.inputs.high}
        raw = {name: torch.full_like(shift, end) for name, end in ends.items() if end is not None}
        return {name: self.preprocess(end).to(self.train.x.device) for name, end in raw.items()}

    @property
    def features(self) -> tuple[Feature, ...]:
        """Which columns of a row are one feature; empty where each is one of its own."""
        return () if self.preparation is None else features_of(self.preparation)

    def in_units(self, outputs: Array) -> Array:
        """Outputs of the network in the user's units."""
        return outputs if self.units is None else self.units.apply(outputs)


def prepare(raw: RawData, *, dtype: torch.dtype = torch.float32, device: torch.device | str = "cpu") -> Prepared:
    """Checks raw data, fits the normalisation on the training split and returns tensors.

    Args:
        raw: From a dataset.
        dtype: Floating, of the tensors.
        device: Where the tensors shall lie.

    Raises:
        DataError: A split is empty, a feature is not finite, shapes or classes do not fit what is declared, or the
            normalisation needs a range or constants that the dataset does not declare.
    """
    for split_name, split in raw.splits():
        check_split(raw, split_name, split)
    preparation = None if raw.table is None else raw.table.fit(raw.train.x)
    entering = raw if preparation is None else _entering(raw, preparation)
    shift, scale = _fit_normalization(entering)
    preprocess = Normalize(torch.as_tensor(shift, dtype=dtype), torch.as_tensor(scale, dtype=dtype))
    units = fit_units(raw.train.y) if raw.scale_targets and raw.task.kind == "regression" else None
    kept = _kept_as(entering, dtype)
    tensors = {
        name: _to_tensors(split, preprocess, units, device, kept, is_prepared=preparation is not None)
        for name, split in entering.splits()
    }
    return Prepared(
        train=tensors["train"],
        valid=tensors.get("valid"),
        test=tensors["test"],
        preprocess=preprocess,
        raw=raw,
        digest=digest(raw),
        inputs=entering.inputs,
        file_test=entering.test,
        file_valid=entering.valid,
        kept=_in_words(entering, kept, dtype),
        preparation=preparation,
        units=units,
        weights=_weights(raw, dtype, device),
    )


def _entering(raw: RawData, preparation: Preparation) -> RawData:
    """A table as the numbers that an exported file takes."""
    train, test = (Split(x=preparation.apply(split.x), y=split.y) for split in (raw.train, raw.test))
    valid = None if raw.valid is None else Split(x=preparation.apply(raw.valid.x), y=raw.valid.y)
    features = preparation.features
    inputs = InputSpec(layout="row", shape=(len(features),), dtype="float32", names=features)
    return dataclasses.replace(raw, train=train, valid=valid, test=test, inputs=inputs, normalize="none", table=None)


def _weights(raw: RawData, dtype: torch.dtype, device: torch.device | str) -> Tensor | None:
    if raw.weights is None:
        return None
    weights = np.asarray(raw.weights, dtype=np.float64)[: len(raw.train)]
    return torch.as_tensor(weights / weights.mean(), dtype=dtype, device=device)


def _fit_normalization(raw: RawData) -> tuple[Array, Array]:
    """Returns shift and scale in float64, of a shape that goes with one raw input."""
    if raw.normalize == "none":
        return np.zeros(()), np.ones(())
    if raw.normalize == "standard":
        return _standardize(raw.train.x)
    if raw.normalize == "unit":
        low, high = raw.inputs.low, raw.inputs.high
        if low is None or high is None:
            raise DataError(
                f"Dataset {raw.name}: normalize=unit needs a declared range, but its inputs have none.",
                hint="Choose normalize=standard or normalize=none.",
            )
        return np.asarray(low), np.asarray(1 / (high - low))
    if raw.fixed is None:
        raise DataError(
            f"Dataset {raw.name}: normalize=fixed needs constants, but the dataset declares none.",
            hint="Choose normalize=unit, normalize=standard or normalize=none.",
        )
    mean, std = raw.fixed
    return np.asarray(mean), np.asarray(1 / std)


def _standardize(x: Any) -> tuple[Array, Array]:
    """Mean and 1 / standard deviation (n in the denominator): by column `(F,)`, channel `(C, 1, 1)` or last axis."""
    axes = (0, 2, 3) if x.ndim == 4 else tuple(range(x.ndim - 1))
    count, total, low, high = 0, 0.0, [], []
    for chunk in in_chunks(x):
        total = total + chunk.sum(axis=axes, dtype=np.float64, keepdims=True)[0]
        count += chunk.size
        low.append(chunk.min(axis=axes, keepdims=True)[0])
        high.append(chunk.max(axis=axes, keepdims=True)[0])
    mean = total / (count / np.size(total))
    # Two passes, a few rows at a time: 60,000 images in float64 would be 376 MB.
    squares = sum(np.square(chunk - mean).sum(axis=axes, keepdims=True)[0] for chunk in in_chunks(x))
    std = np.sqrt(squares / (count / np.size(mean)))
    # A constant column has no spread to divide by; the computed one may be a rounding error.
    constant = np.max(high, axis=0) == np.min(low, axis=0)
    return np.asarray(mean), 1 / np.where(constant, 1.0, std)


FLOATS_KEPT_BYTES = 4 << 20
"""Size of all normalised inputs up to which they are kept normalised; larger uint8 inputs stay uint8 in memory."""

Kept = Literal["normalised", "raw", "streamed"]


def _kept_as(raw: RawData, dtype: torch.dtype) -> Kept:
    if any(isinstance(split.x, LazyRows) for _, split in raw.splits()):
        return "streamed"
    total = sum(size_bytes(split.x.shape, dtype.itemsize) for _, split in raw.splits())
    return "raw" if raw.inputs.dtype == "uint8" and total > FLOATS_KEPT_BYTES else "normalised"


def _in_words(raw: RawData, kept: Kept, dtype: torch.dtype) -> str:
    itemsize = dtype.itemsize if kept == "normalised" else np.dtype(raw.inputs.dtype).itemsize
    size = _size_text(sum(size_bytes(split.x.shape, itemsize) for _, split in raw.splits()))
    if kept == "normalised":
        return f"in memory as {str(dtype).removeprefix('torch.')}, {size}"
    if kept == "raw":
        return f"in memory as {raw.inputs.dtype}, {size}; each batch is normalised when it is needed"
    workers = max(split.x.workers for _, split in raw.splits() if isinstance(split.x, LazyRows))
    by = f"{workers} worker process{'es' * (workers > 1)}" if workers else "the run's own process"
    return f"streamed from their source by {by}; in memory they would take {size} as {raw.inputs.dtype}"


def _size_text(size: int) -> str:
    return f"{size / 2**20:,.1f} MiB" if size >= 2**20 else f"{size / 2**10:,.0f} KiB"


def _to_tensors(
    split: Split,
    preprocess: Normalize,
    units: Units | None,
    device: torch.device | str,
    kept: Kept,
    *,
    is_prepared: bool,
) -> TensorSplit:
    """Returns a split as tensors; rows of a table that a preparation made are normalised, and need no copy."""
    dtype = preprocess.shift.dtype
    y = _to_tensor(split.y if units is None else units.remove(split.y)).to(device)
    x = _to_inputs(split.x, preprocess, device, kept, is_prepared=is_prepared)
    return TensorSplit(x=x, y=y.to(dtype) if y.is_floating_point() else y)


def _to_inputs(x: Any, preprocess: Normalize, device: torch.device | str, kept: Kept, *, is_prepared: bool) -> Inputs:
    there, dtype = copy.deepcopy(preprocess).to(device), preprocess.shift.dtype
    if isinstance(x, LazyRows):
        return Streamed(x, there, dtype, torch.device(device))
    raw = _to_tensor(x).to(device)
    if kept == "raw":
        return KeptRaw(raw, there, dtype)
    if is_prepared:
        return raw.to(dtype)
    # The operations of Normalize.forward, two of them in place.
    return raw.to(dtype, copy=True).sub_(there.shift).mul_(there.scale)


def _to_tensor(array: Array) -> Tensor:
    # torch warns about read-only memory, such as that of a mapped file, so such an array is copied.
    return torch.from_numpy(np.require(array, requirements=["C", "W"]))
