"""Noise on inputs and activations."""

from __future__ import annotations

from typing import Annotated, Literal

from annotated_types import Ge, Lt

from regplug.api import Felt, Parameters, Regularizer, Schedulable, Search, Stackable

Probability = Annotated[float, Ge(0), Lt(1)]
Deviation = Annotated[float, Ge(0)]
DropProbability = Annotated[
    Probability | tuple[Probability, ...], Schedulable(), Stackable(off=0), Search(low=0.0, high=0.8)
]
BranchDropProbability = Annotated[Probability, Schedulable(), Stackable(off=0), Search(low=0.0, high=0.8)]
Globs = str | tuple[str, ...]


class DropoutParams(Parameters):
    """Parameters of `dropout` and of `dropout_scratch`."""

    drop_probability: DropProbability = 0.5
    "Chance that an entry is set to zero: one number, or one for each place in the order of the forward pass."
    at: Globs = ()
    "Globs of module names to put a dropout behind; without it behind each activation."


class AlphaDropoutParams(Parameters):
    """Parameters of `alpha_dropout`."""

    drop_probability: DropProbability = 0.1
    "Chance that an entry is set to SELU's lower limit: one number, or one for each place."
    at: Globs = ()
    "Globs of module names to put an alpha dropout behind; without it behind each activation."


class GaussianDropoutParams(Parameters):
    """Parameters of `gaussian_dropout`."""

    drop_probability: DropProbability = 0.5
    "Rate p of the dropout whose variance, p / (1 - p), the noise has: one number, or one for each place."
    at: Globs = ()
    "Globs of module names to put the noise behind; without it behind each activation."


class SpatialDropoutParams(Parameters):
    """Parameters of `spatial_dropout`."""

    drop_probability: DropProbability = 0.2
    "Chance that a feature map is set to zero: one number, or one for each place."
    at: Globs = ()
    "Globs of module names to put a dropout behind; without it behind each activation of feature maps."


class DropConnectParams(Parameters):
    """Parameters of `dropconnect`."""

    drop_probability: DropProbability = 0.5
    "Chance that an entry of a weight is set to zero: one number, or one for each place."
    at: Globs = ()
    "Globs of module names whose weights are dropped; without it all weights but those of normalizations."


class DropBlockParams(Parameters):
    """Parameters of `dropblock`."""

    drop_probability: DropProbability = 0.1
    "Approximate share of the entries that are dropped: one number, or one for each place."
    block_size: Annotated[int, Ge(1)] = 7
    "Height and width of a block; a smaller feature map has blocks of its own size."
    at: Globs = ()
    "Globs of module names to put a DropBlock behind; without it behind each activation of images."


class StochasticDepthParams(Parameters):
    """Parameters of `stochastic_depth`."""

    drop_probability: BranchDropProbability = 0.5
    "Chance that the last branch is dropped; that of the others falls linearly towards the input."
    mode: Literal["row", "batch"] = "row"
    "Whether a branch is dropped for one row or for the whole batch, as in the paper."
    at: Globs = ()
    "Globs of module names that are branches; without it the modules that say so."


class ShakeDropParams(Parameters):
    """Parameters of `shake_drop`."""

    drop_probability: BranchDropProbability = 0.5
    "Chance that the last branch is shaken; that of the others falls linearly towards the input."
    at: Globs = ()
    "Globs of module names that are branches; without it the modules that say so."


class WeightNoiseParams(Parameters):
    """Parameters of `weight_noise`."""

    std: Annotated[
        Deviation | tuple[Deviation, ...],
        Schedulable(),
        Stackable(off=0),
        Search(low=1e-3, high=0.3, log=True),
    ] = 0.05
    "Standard deviation of the noise: one number, or one for each place."
    at: Globs = ()
    "Globs of module names whose weights get noise; without it all weights but those of normalizations."


class InputNoiseParams(Parameters):
    """Parameters of `input_noise`."""

    std: Annotated[float, Ge(0), Schedulable(), Stackable(off=0), Search(low=1e-2, high=1.0, log=True)] = 0.1
    "Standard deviation of the noise, in units of the normalised input."


REGULARIZERS = (
    Regularizer(
        name="alpha_dropout",
        target="regplug_regularizers.noise.alpha_dropout:AlphaDropout",
        params=AlphaDropoutParams,
        summary="Dropout for networks of SELU: keeps mean 0 and variance 1 of the activations.",
        example="--reg alpha_dropout --activation selu",
        formula="a * (x * m + alpha' * (1 - m)) + b, m ~ Bernoulli(1 - p)",
        felt=Felt(activation="selu"),
        conflicts=("normalization",),
        tags=("stochastic",),
        source="Klambauer et al. 2017, Self-Normalizing Neural Networks",
    ),
    Regularizer(
        name="dropblock",
        target="regplug_regularizers.noise.dropblock:DropBlock",
        params=DropBlockParams,
        summary="Sets squares of feature maps to zero at random.",
        formula="x * m / mean(m), m 0 in blocks of block_size",
        example="--reg dropblock --model cnn --dataset mnist",
        inputs=("image",),
        after=("normalization",),
        tags=("stochastic",),
        source="Ghiasi et al. 2018, DropBlock: A regularization method for convolutional networks",
    ),
    Regularizer(
        name="dropconnect",
        target="regplug_regularizers.noise.dropconnect:DropConnect",
        params=DropConnectParams,
        summary="Sets entries of weights to zero at random and scales the others up.",
        formula="W * m / (1 - p), m ~ Bernoulli(1 - p)",
        after=("reparametrization",),
        tags=("stochastic", "keeps-mean", "weight-noise"),
        source="Wan et al. 2013, Regularization of Neural Networks using DropConnect",
    ),
    Regularizer(
        name="dropout",
        target="regplug_regularizers.noise.dropout:Dropout",
        params=DropoutParams,
        summary="Sets entries of activations to zero at random and scales the others up.",
        formula="x * m / (1 - p), m ~ Bernoulli(1 - p)",
        after=("normalization",),
        tags=("stochastic", "keeps-mean"),
        source="Srivastava et al. 2014, Dropout: A Simple Way to Prevent Neural Networks from Overfitting",
    ),
    Regularizer(
        name="dropout_scratch",
        target="regplug_regularizers.noise.dropout_scratch:DropoutScratch",
        params=DropoutParams,
        summary="Dropout written as in a textbook, for study: a mask from uniform numbers.",
        formula="x * m / (1 - p), m = u >= p, u uniform",
        after=("normalization",),
        tags=("stochastic", "keeps-mean"),
        source="Zhang et al. 2023, Dive into Deep Learning, section 5.6",
    ),
    Regularizer(
        name="gaussian_dropout",
        target="regplug_regularizers.noise.gaussian_dropout:GaussianDropout",
        params=GaussianDropoutParams,
        summary="Multiplies activations by Gaussian noise with mean 1 and the variance of dropout.",
        formula="x * (1 + sqrt(p / (1 - p)) * N(0, 1))",
        after=("normalization",),
        tags=("stochastic", "keeps-mean"),
        source="Srivastava et al. 2014, Dropout, section 10",
    ),
    Regularizer(
        name="input_noise",
        target="regplug_regularizers.noise.input_noise:InputNoise",
        params=InputNoiseParams,
        summary="Adds Gaussian noise to the normalised inputs.",
        formula="x + std * N(0, 1)",
        tags=("stochastic", "keeps-mean"),
        source="Bishop 1995, Training with Noise is Equivalent to Tikhonov Regularization",
    ),
    Regularizer(
        name="shake_drop",
        target="regplug_regularizers.noise.shake_drop:ShakeDrop",
        params=ShakeDropParams,
        summary="Multiplies residual branches by random numbers, different ones in the forward and backward pass.",
        formula="x + (b + a - b * a) * f(x), b ~ Bernoulli, a uniform on [-1, 1]",
        felt=Felt(branches=True),
        example="--reg shake_drop --model residual_mlp",
        conflicts=("stochastic_depth",),
        tags=("branch", "other-gradient"),
        source="Yamada et al. 2018, ShakeDrop Regularization for Deep Residual Learning",
    ),
    Regularizer(
        name="spatial_dropout",
        target="regplug_regularizers.noise.spatial_dropout:SpatialDropout",
        params=SpatialDropoutParams,
        summary="Sets whole feature maps to zero at random and scales the others up.",
        formula="x * m / (1 - p), one m for each feature map",
        example="--reg spatial_dropout --model cnn --dataset mnist",
        inputs=("image",),
        after=("normalization",),
        tags=("stochastic", "keeps-mean"),
        source="Tompson et al. 2015, Efficient Object Localization Using Convolutional Networks",
    ),
    Regularizer(
        name="stochastic_depth",
        target="regplug_regularizers.noise.stochastic_depth:StochasticDepth",
        params=StochasticDepthParams,
        summary="Drops residual branches at random, the later ones more often.",
        formula="x + m * f(x) / (1 - p_l), m ~ Bernoulli(1 - p_l)",
        felt=Felt(branches=True),
        example="--reg stochastic_depth --model residual_mlp",
        tags=("stochastic", "keeps-mean", "branch"),
        source="Huang et al. 2016, Deep Networks with Stochastic Depth",
    ),
    Regularizer(
        name="weight_noise",
        target="regplug_regularizers.noise.weight_noise:WeightNoise",
        params=WeightNoiseParams,
        summary="Adds Gaussian noise to the weights at each step.",
        formula="W + std * N(0, 1)",
        after=("reparametrization",),
        tags=("stochastic", "keeps-mean", "weight-noise"),
        source="Graves 2011, Practical Variational Inference for Neural Networks",
    ),
)
