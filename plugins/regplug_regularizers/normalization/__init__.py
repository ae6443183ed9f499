"""Normalization layers."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Annotated

from annotated_types import Gt, Le

from regplug.api import Regularizer


@dataclass(frozen=True, kw_only=True)
class BatchNormParams:
    """Parameters of `batchnorm`."""

    momentum: Annotated[float, Gt(0), Le(1)] = 0.1
    "Weight of the newest batch in the running statistics, torch's convention."
    eps: Annotated[float, Gt(0)] = 1e-5
    "Added to the variance."
    at: str | tuple[str, ...] = ()
    "Globs of module names to put a normalization behind; without it before each activation."


REGULARIZERS = (
    Regularizer(
        name="batchnorm",
        target="regplug_regularizers.normalization.batchnorm:BatchNorm",
        params=BatchNormParams,
        summary="Normalises each channel by the batch's mean and variance, before the activation.",
        formula="(x - mean) / sqrt(var + eps) * weight + bias, over the batch",
        tags=("normalization", "batch-statistics"),
        source="Ioffe and Szegedy 2015, Batch Normalization",
    ),
)
