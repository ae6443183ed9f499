"""Gradients and the step: clipping, a second gradient, decoupled decay."""

from __future__ import annotations

from typing import Annotated

from annotated_types import Ge, Gt, Le

from regplug.api import Felt, Parameters, Regularizer, Schedulable, Search, Stackable


class AdaptiveClipParams(Parameters):
    """Parameters of `adaptive_clip`."""

    ratio: Annotated[float, Gt(0), Schedulable(), Stackable(), Search(low=1e-3, high=0.2, log=True)] = 0.01
    "Largest norm of a unit's gradient, as a share of the norm of its weights."
    eps: Annotated[float, Gt(0), Stackable()] = 1e-3
    "Lower bound on the norm of the weights, so that weights that start at zero can move."


class AsamParams(Parameters):
    """Parameters of `asam`."""

    rho: Annotated[float, Ge(0), Schedulable(), Stackable(off=0), Search(low=0.05, high=5.0, log=True)] = 0.5
    "Radius, relative to the weights, at which the second gradient is taken; 0 is plain descent."
    eta: Annotated[float, Ge(0), Stackable(), Search(low=1e-3, high=0.1, log=True)] = 0.01
    "Added to the size of each weight, so that weights near zero are moved too."


class ClipValueParams(Parameters):
    """Parameters of `clip_value`."""

    max_value: Annotated[float, Gt(0), Schedulable(), Stackable(), Search(low=0.01, high=10.0, log=True)] = 1.0
    "Largest absolute value of an entry of a gradient."


class ClipNormParams(Parameters):
    """Parameters of `clip_norm`."""

    max_norm: Annotated[float, Gt(0), Schedulable(), Stackable(), Search(low=0.1, high=10.0, log=True)] = 1.0
    "Largest Euclidean norm of all gradients together."


class GradientNoiseParams(Parameters):
    """Parameters of `gradient_noise`."""

    variance: Annotated[float, Ge(0), Schedulable(), Stackable(off=0), Search(low=1e-3, high=1.0, log=True)] = 0.01
    "Variance of the noise at the first step: eta in the paper, one of 0.01, 0.3 and 1."
    decay: Annotated[float, Ge(0), Stackable(), Search(low=0.1, high=1.0)] = 0.55
    "Exponent with which the variance falls with the number of steps: gamma in the paper."


class LookaheadParams(Parameters):
    """Parameters of `lookahead`."""

    alpha: Annotated[float, Gt(0), Le(1), Schedulable(), Stackable(), Search(low=0.2, high=0.8)] = 0.5
    "How far the slow weights follow, as a share of the way to the fast ones."
    steps: Annotated[int, Ge(1)] = 5
    "Optimizer steps between two updates of the slow weights: k in the paper."


class SamParams(Parameters):
    """Parameters of `sam`."""

    rho: Annotated[float, Ge(0), Schedulable(), Stackable(off=0), Search(low=0.01, high=0.5, log=True)] = 0.05
    "Radius, in units of the weights, at which the second gradient is taken; 0 is plain descent."


class WeightDecayParams(Parameters):
    """Parameters of `weight_decay`."""

    strength: Annotated[float, Ge(0), Schedulable(), Stackable(off=0), Search(low=1e-5, high=1.0, log=True)] = 1e-2
    "Each step multiplies a weight by 1 - rate * strength."
    everything: bool = False
    "Whether biases and normalization parameters decay too."


REGULARIZERS = (
    Regularizer(
        name="adaptive_clip",
        target="regplug_regularizers.gradients.adaptive_clip:AdaptiveClip",
        params=AdaptiveClipParams,
        summary="Scales a unit's gradient down if it is large compared with the unit's weights.",
        formula="g_i * min(1, ratio * max(|w_i|, eps) / |g_i|)",
        tags=("clipping",),
        felt=Felt(values="ratio=0.001"),
        source="Brock et al. 2021, High-Performance Large-Scale Image Recognition Without Normalization",
    ),
    Regularizer(
        name="asam",
        target="regplug_regularizers.gradients.asam:Asam",
        params=AsamParams,
        summary="Like sam, with a radius that grows with the weights, so that their scale does not matter.",
        formula="gradient at w + rho * T^2 g / |T g|, g the gradient at w, T = |w| + eta (1 for biases)",
        conflicts=("second-gradient",),
        tags=("second-gradient",),
        source="Kwon et al. 2021, ASAM: Adaptive Sharpness-Aware Minimization",
    ),
    Regularizer(
        name="clip_value",
        target="regplug_regularizers.gradients.clip_value:ClipValue",
        params=ClipValueParams,
        summary="Keeps each entry of the gradients between two bounds.",
        formula="min(max(g, -max_value), max_value)",
        tags=("clipping",),
        felt=Felt(values="max_value=0.01"),
        source="Mikolov 2012, Statistical Language Models Based on Neural Networks; torch's clip_grad_value_",
    ),
    Regularizer(
        name="clip_norm",
        target="regplug_regularizers.gradients.clip_norm:ClipNorm",
        params=ClipNormParams,
        summary="Scales all gradients down if their joint norm is too large.",
        formula="gradients * min(1, max_norm / |gradients|)",
        felt=Felt(values="max_norm=0.01"),
        tags=("clipping",),
        source="Pascanu et al. 2013, On the difficulty of training recurrent neural networks",
    ),
    Regularizer(
        name="gradient_centralization",
        target="regplug_regularizers.gradients.gradient_centralization:GradientCentralization",
        summary="Subtracts the mean from the gradient of each unit's weights.",
        formula="g_i - mean(g_i) for each unit i",
        before=("clipping",),
        needs_weights=True,
        source="Yong et al. 2020, Gradient Centralization",
    ),
    Regularizer(
        name="gradient_noise",
        target="regplug_regularizers.gradients.gradient_noise:GradientNoise",
        params=GradientNoiseParams,
        summary="Adds Gaussian noise to the gradients, less with each step.",
        formula="g + N(0, variance / (1 + t)^decay)",
        # Noise of a known size is added to a gradient of a known size.
        after=("clipping",),
        tags=("stochastic",),
        source="Neelakantan et al. 2015, Adding Gradient Noise Improves Learning for Very Deep Networks",
    ),
    Regularizer(
        name="lookahead",
        target="regplug_regularizers.gradients.lookahead:Lookahead",
        params=LookaheadParams,
        summary="Every few steps moves slow weights towards the optimizer's and continues from there.",
        formula="every k steps: slow <- slow + alpha * (w - slow), w <- slow",
        tags=("averaging",),
        source="Zhang et al. 2019, Lookahead Optimizer: k steps forward, 1 step back",
    ),
    Regularizer(
        name="sam",
        target="regplug_regularizers.gradients.sam:Sam",
        params=SamParams,
        summary="Takes the gradient at the worst nearby weights, to find flat minima; twice the cost.",
        formula="gradient at w + rho * g / |g|, g the gradient at w",
        tags=("second-gradient",),
        source="Foret et al. 2021, Sharpness-Aware Minimization",
    ),
    Regularizer(
        name="weight_decay",
        target="regplug_regularizers.gradients.weight_decay:WeightDecay",
        params=WeightDecayParams,
        summary="Shrinks weights at each step, independently of the gradient: AdamW's decay, for every optimizer.",
        formula="w <- w * (1 - rate * strength) - update",
        tags=("decoupled-decay",),
        needs_weights=True,
        source="Loshchilov and Hutter 2019, Decoupled Weight Decay Regularization",
    ),
)
