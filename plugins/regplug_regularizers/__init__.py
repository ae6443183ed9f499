"""First-party regularizers: at least one for each phase of the contract."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from typing import Annotated, Literal

from annotated_types import Ge, Gt, Le, Lt

from regplug.api import Regularizer, Schedulable, Search, Stackable, hookimpl

Probability = Annotated[float, Ge(0), Lt(1)]


@dataclass(frozen=True, kw_only=True)
class DropoutParams:
    """Parameters of `dropout`."""

    drop_probability: Annotated[
        Probability | tuple[Probability, ...], Schedulable(), Stackable(off=0), Search(low=0.0, high=0.8)
    ] = 0.5
    "Chance that an entry is set to zero: one number, or one for each place in the order of the forward pass."
    at: str | tuple[str, ...] = ()
    "Globs of module names to put a dropout behind; without it behind each activation."


@dataclass(frozen=True, kw_only=True)
class BatchNormParams:
    """Parameters of `batchnorm`."""

    momentum: Annotated[float, Gt(0), Le(1)] = 0.1
    "Weight of the newest batch in the running statistics, torch's convention."
    eps: Annotated[float, Gt(0)] = 1e-5
    "Added to the variance."
    at: str | tuple[str, ...] = ()
    "Globs of module names to put a normalization behind; without it before each activation."


@dataclass(frozen=True, kw_only=True)
class PenaltyParams:
    """Parameters of `l1` and `l2`."""

    strength: Annotated[float, Ge(0), Schedulable(), Stackable(off=0), Search(low=1e-6, high=1e-1, log=True)] = 1e-4
    "What the sum is multiplied with."
    everything: bool = False
    "Whether biases and normalization parameters are penalised too."


@dataclass(frozen=True, kw_only=True)
class InputNoiseParams:
    """Parameters of `input_noise`."""

    std: Annotated[float, Ge(0), Schedulable(), Stackable(off=0), Search(low=1e-2, high=1.0, log=True)] = 0.1
    "Standard deviation of the noise, in units of the normalised input."


@dataclass(frozen=True, kw_only=True)
class MixupParams:
    """Parameters of `mixup`."""

    alpha: Annotated[float, Ge(0), Stackable(off=0), Search(low=0.05, high=2.0, log=True)] = 0.2
    "Both parameters of the beta distribution of the share; 0 mixes nothing."


@dataclass(frozen=True, kw_only=True)
class LabelSmoothingParams:
    """Parameters of `label_smoothing`."""

    strength: Annotated[float, Ge(0), Lt(1), Schedulable(), Stackable(off=0), Search(low=0.0, high=0.3)] = 0.1
    "Share of the probability that is spread over all classes."


@dataclass(frozen=True, kw_only=True)
class ClipNormParams:
    """Parameters of `clip_norm`."""

    max_norm: Annotated[float, Gt(0), Schedulable(), Stackable(), Search(low=0.1, high=10.0, log=True)] = 1.0
    "Greatest Euclidean norm of all gradients together."


@dataclass(frozen=True, kw_only=True)
class SamParams:
    """Parameters of `sam`."""

    rho: Annotated[float, Ge(0), Schedulable(), Stackable(off=0), Search(low=0.01, high=0.5, log=True)] = 0.05
    "Radius, in units of the weights, at which the second gradient is taken; 0 is plain descent."


@dataclass(frozen=True, kw_only=True)
class WeightDecayParams:
    """Parameters of `weight_decay`."""

    strength: Annotated[float, Ge(0), Schedulable(), Stackable(off=0), Search(low=1e-5, high=1.0, log=True)] = 1e-2
    "Each step multiplies a weight with 1 - rate * strength."
    everything: bool = False
    "Whether biases and normalization parameters decay too."


@dataclass(frozen=True, kw_only=True)
class MaxNormParams:
    """Parameters of `max_norm`."""

    max_norm: Annotated[float, Gt(0), Schedulable(), Stackable(), Search(low=0.5, high=10.0, log=True)] = 3.0
    "Greatest Euclidean norm of the weights into one unit."


@dataclass(frozen=True, kw_only=True)
class SwaParams:
    """Parameters of `swa`."""

    start: Annotated[float, Ge(0), Lt(1), Stackable(), Search(low=0.25, high=0.9)] = 0.75
    "Share of the epochs after which averaging starts."


@dataclass(frozen=True, kw_only=True)
class EarlyStoppingParams:
    """Parameters of `early_stopping`."""

    patience: Annotated[int, Ge(1), Stackable(), Search(low=2, high=20)] = 5
    "Epochs without improvement after which the run stops."
    min_delta: Annotated[float, Ge(0), Stackable()] = 0.0
    "What the validation loss must fall by to count as an improvement."
    keep: Literal["best", "last"] = "best"
    "Which weights the run ends with: those of the best epoch, or the last ones."


@hookimpl
def regplug_regularizers() -> Iterator[Regularizer]:
    """Yields the first-party regularizers."""
    yield Regularizer(
        name="none",
        target="regplug_regularizers.none:NoRegularizer",
        summary="No regularization: the neutral element, for comparisons.",
        phases=(),
    )
    yield Regularizer(
        name="dropout",
        target="regplug_regularizers.dropout:Dropout",
        params=DropoutParams,
        summary="Sets entries of activations to zero at random and scales the others up.",
        phases=("structure", "noise"),
        after=("normalization",),
        tags=("stochastic", "keeps-mean"),
        source="Srivastava et al. 2014, Dropout: A Simple Way to Prevent Neural Networks from Overfitting",
    )
    yield Regularizer(
        name="batchnorm",
        target="regplug_regularizers.batchnorm:BatchNorm",
        params=BatchNormParams,
        summary="Normalises each channel by the batch's mean and variance, before the activation.",
        phases=("structure",),
        tags=("normalization", "batch-statistics"),
        source="Ioffe and Szegedy 2015, Batch Normalization",
    )
    yield Regularizer(
        name="l1",
        target="regplug_regularizers.penalties:L1",
        params=PenaltyParams,
        summary="Adds strength * sum |w| to the loss; drives weights towards zero.",
        phases=("objective",),
        tags=("penalty",),
        source="Tibshirani 1996, Regression Shrinkage and Selection via the Lasso",
    )
    yield Regularizer(
        name="l2",
        target="regplug_regularizers.penalties:L2",
        params=PenaltyParams,
        summary="Adds strength/2 * sum w^2 to the loss: what torch's SGD calls weight_decay.",
        phases=("objective",),
        tags=("penalty", "coupled-decay"),
        source="Hoerl and Kennard 1970, Ridge Regression; Krogh and Hertz 1991",
    )
    yield Regularizer(
        name="input_noise",
        target="regplug_regularizers.input_noise:InputNoise",
        params=InputNoiseParams,
        summary="Adds Gaussian noise to the normalised inputs.",
        phases=("noise", "data"),
        tags=("stochastic", "keeps-mean"),
        source="Bishop 1995, Training with Noise is Equivalent to Tikhonov Regularization",
    )
    yield Regularizer(
        name="mixup",
        target="regplug_regularizers.mixup:Mixup",
        params=MixupParams,
        summary="Trains on random blends of two samples and of their targets.",
        phases=("noise", "data"),
        tags=("stochastic", "mixing"),
        source="Zhang et al. 2018, mixup: Beyond Empirical Risk Minimization",
    )
    yield Regularizer(
        name="label_smoothing",
        target="regplug_regularizers.label_smoothing:LabelSmoothing",
        params=LabelSmoothingParams,
        summary="Spreads a share of the target's probability over all classes.",
        phases=("data",),
        # The other order moves targets: a smoothed pair is not a pair smoothed.
        after=("mixing",),
        tasks=("classification",),
        tags=("soft-targets",),
        source="Szegedy et al. 2016, Rethinking the Inception Architecture",
    )
    yield Regularizer(
        name="clip_norm",
        target="regplug_regularizers.clip_norm:ClipNorm",
        params=ClipNormParams,
        summary="Scales the gradients down where their common norm is too great.",
        phases=("gradient",),
        tags=("clipping",),
        source="Pascanu et al. 2013, On the difficulty of training recurrent neural networks",
    )
    yield Regularizer(
        name="sam",
        target="regplug_regularizers.sam:Sam",
        params=SamParams,
        summary="Takes the gradient where the loss is worst nearby, for flat minima; twice the cost.",
        phases=("gradient",),
        tags=("second-gradient",),
        source="Foret et al. 2021, Sharpness-Aware Minimization",
    )
    yield Regularizer(
        name="weight_decay",
        target="regplug_regularizers.weight_decay:WeightDecay",
        params=WeightDecayParams,
        summary="Shrinks weights at each step apart from the gradient: AdamW's decay, for every optimizer.",
        phases=("optimizer",),
        tags=("decoupled-decay",),
        source="Loshchilov and Hutter 2019, Decoupled Weight Decay Regularization",
    )
    yield Regularizer(
        name="max_norm",
        target="regplug_regularizers.max_norm:MaxNorm",
        params=MaxNormParams,
        summary="Keeps the norm of the weights into each unit below a bound.",
        phases=("weights",),
        tags=("projection",),
        source="Srebro and Shraibman 2005; Srivastava et al. 2014, section 5.1",
    )
    yield Regularizer(
        name="swa",
        target="regplug_regularizers.swa:Swa",
        params=SwaParams,
        summary="Ends with the average of the weights over the last epochs.",
        phases=("state", "epoch", "finish"),
        tags=("averaging",),
        source="Izmailov et al. 2018, Averaging Weights Leads to Wider Optima and Better Generalization",
    )
    yield Regularizer(
        name="early_stopping",
        target="regplug_regularizers.early_stopping:EarlyStopping",
        params=EarlyStoppingParams,
        summary="Stops when the validation loss no longer falls, and goes back to the best epoch.",
        phases=("state", "epoch", "finish"),
        after=("averaging",),
        tags=("stopping",),
        source="Prechelt 1998, Early Stopping - But When?",
    )
