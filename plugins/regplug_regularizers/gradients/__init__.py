"""Gradients and their step: clipping, a second gradient, decay apart from the gradient."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Annotated

from annotated_types import Ge, Gt

from regplug.api import Felt, Regularizer, Schedulable, Search, Stackable


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


REGULARIZERS = (
    Regularizer(
        name="clip_norm",
        target="regplug_regularizers.gradients.clip_norm:ClipNorm",
        params=ClipNormParams,
        summary="Scales the gradients down where their common norm is too great.",
        formula="gradients * min(1, max_norm / |gradients|)",
        felt=Felt(values="max_norm=0.01"),
        tags=("clipping",),
        source="Pascanu et al. 2013, On the difficulty of training recurrent neural networks",
    ),
    Regularizer(
        name="sam",
        target="regplug_regularizers.gradients.sam:Sam",
        params=SamParams,
        summary="Takes the gradient where the loss is worst nearby, for flat minima; twice the cost.",
        formula="gradient at w + rho * g / |g|, g the gradient at w",
        tags=("second-gradient",),
        source="Foret et al. 2021, Sharpness-Aware Minimization",
    ),
    Regularizer(
        name="weight_decay",
        target="regplug_regularizers.gradients.weight_decay:WeightDecay",
        params=WeightDecayParams,
        summary="Shrinks weights at each step apart from the gradient: AdamW's decay, for every optimizer.",
        formula="w <- w * (1 - rate * strength) - update",
        tags=("decoupled-decay",),
        source="Loshchilov and Hutter 2019, Decoupled Weight Decay Regularization",
    ),
)
