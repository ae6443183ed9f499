"""Normalization of activations and of weights."""

from __future__ import annotations

from typing import Annotated

from annotated_types import Ge, Gt, Le

from regplug.api import Felt, Parameters, Regularizer, Schedulable, Search, Stackable

Globs = str | tuple[str, ...]


class BatchNormScratchParams(Parameters):
    """Parameters of `batchnorm_scratch`."""

    momentum: Annotated[float, Gt(0), Le(1)] = 0.1
    "Weight of the newest batch in the running statistics, torch's convention."
    eps: Annotated[float, Gt(0)] = 1e-5
    "Added to the variance."
    at: Globs = ()
    "Globs of module names to put a normalization behind; without it before each activation."


class BatchNormParams(BatchNormScratchParams):
    """Parameters of `batchnorm`."""

    ghost: Annotated[int, Ge(0)] = 0
    "Rows of a ghost batch, two or more, which is normalised on its own; 0 uses the whole batch."


class NormParams(Parameters):
    """Parameters of `layernorm`, `instancenorm` and `rmsnorm`."""

    eps: Annotated[float, Gt(0)] = 1e-5
    "Added to the variance or to the mean square."
    at: Globs = ()
    "Globs of module names to put a normalization behind; without it before each activation."


class GroupNormParams(NormParams):
    """Parameters of `groupnorm`."""

    groups: Annotated[int, Ge(1)] = 4
    "Number of groups; if it does not divide the channels, their greatest common divisor."


class WeightNormParams(Parameters):
    """Parameters of `weight_norm`."""

    at: Globs = ()
    "Globs of module names whose weights are normalised; without it all weights but those of normalizations."


class SpectralNormParams(WeightNormParams):
    """Parameters of `spectral_norm`."""

    norm: Annotated[float, Gt(0), Schedulable(), Stackable(), Search(low=0.5, high=4.0, log=True)] = 1.0
    "Largest singular value of each weight."
    iterations: Annotated[int, Ge(1)] = 1
    "Power iterations at each step."


class WeightStandardizationParams(Parameters):
    """Parameters of `weight_standardization`."""

    eps: Annotated[float, Gt(0)] = 1e-5
    "Added to the variance."
    at: Globs = ()
    "Globs of module names whose weights are standardized; without it all but the last."


REGULARIZERS = (
    Regularizer(
        name="batchnorm",
        target="regplug_regularizers.normalization.batchnorm:BatchNorm",
        params=BatchNormParams,
        summary="Normalises each channel by the batch's mean and variance, before the activation.",
        formula="(x - mean) / sqrt(var + eps) * weight + bias, over the batch",
        tags=("normalization", "batch-statistics"),
        source="Ioffe and Szegedy 2015, Batch Normalization; ghost batches: Hoffer et al. 2017",
    ),
    Regularizer(
        name="batchnorm_scratch",
        target="regplug_regularizers.normalization.batchnorm_scratch:BatchNormScratch",
        params=BatchNormScratchParams,
        summary="Batch normalization written as its formula, for study: equal to batchnorm.",
        formula="weight * (x - mean) / sqrt(var + eps) + bias, over the batch",
        conflicts=("batchnorm",),
        tags=("normalization", "batch-statistics"),
        source="Ioffe and Szegedy 2015, Batch Normalization",
    ),
    Regularizer(
        name="groupnorm",
        target="regplug_regularizers.normalization.groupnorm:GroupNorm",
        params=GroupNormParams,
        summary="Normalises each row over groups of channels, before the activation.",
        formula="weight * (x - mean) / sqrt(var + eps) + bias, over each group of channels of a row",
        tags=("normalization",),
        # A group of few values has a variance near 0 now and then, and the division makes rounding errors large.
        felt=Felt(values="groups=2"),
        source="Wu and He 2018, Group Normalization",
    ),
    Regularizer(
        name="instancenorm",
        target="regplug_regularizers.normalization.instancenorm:InstanceNorm",
        params=NormParams,
        summary="Normalises each feature map of each row over its positions, before the activation.",
        formula="weight * (x - mean) / sqrt(var + eps) + bias, over each channel of a row",
        tags=("normalization",),
        inputs=("image",),
        example="--reg instancenorm --model cnn --dataset mnist",
        source="Ulyanov et al. 2016, Instance Normalization",
    ),
    Regularizer(
        name="layernorm",
        target="regplug_regularizers.normalization.layernorm:LayerNorm",
        params=NormParams,
        summary="Normalises each row over all its entries, before the activation.",
        formula="weight * (x - mean) / sqrt(var + eps) + bias, over all entries of a row",
        tags=("normalization",),
        source="Ba et al. 2016, Layer Normalization",
    ),
    Regularizer(
        name="rmsnorm",
        target="regplug_regularizers.normalization.rmsnorm:RMSNorm",
        params=NormParams,
        summary="Divides each row by the root of its mean square, before the activation.",
        formula="weight * x / sqrt(mean(x^2) + eps)",
        tags=("normalization",),
        source="Zhang and Sennrich 2019, Root Mean Square Layer Normalization",
    ),
    Regularizer(
        name="spectral_norm",
        target="regplug_regularizers.normalization.spectral_norm:SpectralNorm",
        params=SpectralNormParams,
        summary="Divides each weight by its largest singular value.",
        formula="norm * W / (u^T W v), with the first singular vectors u and v",
        tags=("reparametrization",),
        source="Miyato et al. 2018, Spectral Normalization for Generative Adversarial Networks",
    ),
    Regularizer(
        name="weight_norm",
        target="regplug_regularizers.normalization.weight_norm:WeightNorm",
        params=WeightNormParams,
        summary="Trains the length and direction of the weights into each unit separately.",
        formula="w = g * v / |v|",
        before=("spectral_norm", "weight_standardization", "weight-noise"),
        tags=("reparametrization",),
        source="Salimans and Kingma 2016, Weight Normalization",
    ),
    Regularizer(
        name="weight_standardization",
        target="regplug_regularizers.normalization.weight_standardization:WeightStandardization",
        params=WeightStandardizationParams,
        summary="Gives the weights into each unit mean 0 and variance 1.",
        formula="(w - mean) / sqrt(var + eps), over the weights into a unit",
        tags=("reparametrization",),
        # Each layer multiplies by the root of its inputs; the paper puts a normalization behind it.
        felt=Felt(companions=("groupnorm",)),
        source="Qiao et al. 2019, Micro-Batch Training with Batch-Channel Normalization and Weight Standardization",
    ),
)
