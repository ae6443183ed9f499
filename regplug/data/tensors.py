"""The normalised tensors that a run trains on.

Shape letters: B rows, C channels, H height, W width, F columns, K outputs.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import torch
from torch import Tensor, nn

from regplug.api import Task
from regplug.data.checks import check_split
from regplug.data.raw import Array, InputSpec, RawData, Split, digest
from regplug.errors import DataError


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
        x: Of the shape of `Split.x`, floating.
        y: Classes int64 `(B,)`, or floating values `(B, K)`.
    """

    x: Tensor
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
        digest: SHA-256 of the raw arrays of all splits, hexadecimal.
    """

    train: TensorSplit
    valid: TensorSplit | None
    test: TensorSplit
    preprocess: Normalize
    raw: RawData
    digest: str

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
    def inputs(self) -> InputSpec:
        """What one raw input looks like."""
        return self.raw.inputs


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
    shift, scale = _fit_normalization(raw)
    preprocess = Normalize(torch.as_tensor(shift, dtype=dtype), torch.as_tensor(scale, dtype=dtype))
    tensors = {name: _to_tensors(split, preprocess, device) for name, split in raw.splits()}
    return Prepared(
        train=tensors["train"],
        valid=tensors.get("valid"),
        test=tensors["test"],
        preprocess=preprocess,
        raw=raw,
        digest=digest(raw),
    )


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
                f"Dataset {raw.name}: normalize=unit needs a declared range, and its inputs have none.",
                hint="Choose normalize=standard or normalize=none.",
            )
        return np.asarray(low), np.asarray(1 / (high - low))
    if raw.fixed is None:
        raise DataError(
            f"Dataset {raw.name}: normalize=fixed needs constants, and the dataset declares none.",
            hint="Choose normalize=unit, normalize=standard or normalize=none.",
        )
    mean, std = raw.fixed
    return np.asarray(mean), np.asarray(1 / std)


_ROWS_AT_ONCE = 4096


def _standardize(x: Array) -> tuple[Array, Array]:
    """Mean and 1 / standard deviation (n in the denominator): by column `(F,)`, channel `(C, 1, 1)` or last axis."""
    axes = (0, 2, 3) if x.ndim == 4 else tuple(range(x.ndim - 1))
    mean = x.mean(axis=axes, dtype=np.float64, keepdims=True)[0]
    # Two passes, a few rows at a time: 60,000 images in float64 would be 376 MB.
    squares = sum(
        np.square(x[start : start + _ROWS_AT_ONCE] - mean).sum(axis=axes, keepdims=True)[0]
        for start in range(0, len(x), _ROWS_AT_ONCE)
    )
    std = np.sqrt(squares / (x.size / mean.size))
    # A constant column has no spread to divide by; the computed one may be a rounding error.
    constant = x.max(axis=axes, keepdims=True)[0] == x.min(axis=axes, keepdims=True)[0]
    return mean, 1 / np.where(constant, 1.0, std)


def _to_tensors(split: Split, preprocess: Normalize, device: torch.device | str) -> TensorSplit:
    dtype = preprocess.shift.dtype
    x = _to_tensor(split.x).to(device)
    # The operations of Normalize.forward, two of them in place: 60,000 images are 188 MB.
    x = x.to(dtype, copy=True).sub_(preprocess.shift.to(device)).mul_(preprocess.scale.to(device))
    y = _to_tensor(split.y).to(device)
    return TensorSplit(x=x, y=y.to(dtype) if y.is_floating_point() else y)


def _to_tensor(array: Array) -> Tensor:
    # torch warns about read-only memory, such as that of a mapped file, so such an array is copied.
    return torch.from_numpy(np.require(array, requirements=["C", "W"]))
