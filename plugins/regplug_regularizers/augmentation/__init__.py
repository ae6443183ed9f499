"""Augmentation: random changes of the inputs that keep their targets."""

from __future__ import annotations

from typing import Annotated, Literal

from annotated_types import Ge, Gt, Le, Lt

from regplug.api import Felt, Parameters, Regularizer, Schedulable, Search, Stackable

Probability = Annotated[float, Ge(0), Le(1)]


class AugmentParams(Parameters):
    """Parameters of `augment`."""

    shift: Annotated[int, Ge(0), Stackable()] = 4
    "Maximum shift of an image in pixels, in each direction: padding with zeros and a random crop."
    flip_probability: Annotated[Probability, Schedulable(), Stackable()] = 0.5
    "Chance that an image is mirrored, left to right."
    rotation: Annotated[float, Ge(0), Le(180), Search(low=0.0, high=30.0)] = 0.0
    "Maximum rotation of an image in degrees, in each direction."
    policy: Literal["none", "trivial"] = "none"
    "Additional policy; trivial: one operation of TrivialAugment for each image, of random strength."


class CutoutParams(Parameters):
    """Parameters of `cutout`."""

    side: Annotated[float, Ge(0), Le(1), Schedulable(), Stackable(off=0), Search(low=0.1, high=0.7)] = 0.5
    "Side of the square, as a share of the image's shorter side: 16 of 32 pixels in the paper."


class FeatureDropoutParams(Parameters):
    """Parameters of `feature_dropout`."""

    drop_probability: Annotated[float, Ge(0), Lt(1), Schedulable(), Stackable(off=0), Search(low=0.0, high=0.5)] = 0.2
    "Chance that an entry of the inputs is set to zero."


class RandomErasingParams(Parameters):
    """Parameters of `random_erasing`."""

    probability: Annotated[float, Ge(0), Le(1), Schedulable(), Stackable(off=0), Search(low=0.0, high=1.0)] = 0.5
    "Chance that an image loses a box."
    largest: Annotated[float, Gt(0), Le(1), Stackable(), Search(low=0.05, high=0.5)] = 0.4
    "Largest area of the box, as a share of the image."
    fill: Literal["zero", "noise"] = "zero"
    "Content of the box: zeros, or noise N(0, 1)."


class SwapNoiseParams(Parameters):
    """Parameters of `swap_noise`."""

    probability: Annotated[float, Ge(0), Le(1), Schedulable(), Stackable(off=0), Search(low=0.0, high=0.4)] = 0.15
    "Chance that an entry is replaced by that of another row."


REGULARIZERS = (
    Regularizer(
        name="augment",
        target="regplug_regularizers.augmentation.augment:Augment",
        params=AugmentParams,
        summary="Shifts, mirrors and rotates each image at random, or applies the TrivialAugment policy.",
        formula="crop(pad(flip(x))) rotated by U(-rotation, rotation), then one operation of the policy",
        before=("mixing", "erasing"),
        tags=("stochastic",),
        inputs=("image",),
        example="--reg augment:shift=1",
        source="Krizhevsky et al. 2012, section 4.1; Mueller and Hutter 2021, TrivialAugment",
    ),
    Regularizer(
        name="cutout",
        target="regplug_regularizers.augmentation.cutout:Cutout",
        params=CutoutParams,
        summary="Sets a square of each image to zero, at a random place.",
        formula="x * (1 - M), M a square around a random centre",
        before=("mixing",),
        tags=("stochastic", "erasing"),
        inputs=("image",),
        source="DeVries and Taylor 2017, Improved Regularization of Convolutional Neural Networks with Cutout",
    ),
    Regularizer(
        name="feature_dropout",
        target="regplug_regularizers.augmentation.feature_dropout:FeatureDropout",
        params=FeatureDropoutParams,
        summary="Sets entries of the inputs to zero at random and scales the others up; for tables and images.",
        formula="x * m / (1 - p), m ~ Bernoulli(1 - p)",
        tags=("stochastic", "keeps-mean"),
        source="Srivastava et al. 2014, Dropout: A Simple Way to Prevent Neural Networks from Overfitting",
    ),
    Regularizer(
        name="random_erasing",
        target="regplug_regularizers.augmentation.random_erasing:RandomErasing",
        params=RandomErasingParams,
        summary="Fills a box of random size and shape in some images with zeros or noise.",
        formula="x * (1 - M) + fill * M with chance probability, M a random box",
        before=("mixing",),
        tags=("stochastic", "erasing"),
        inputs=("image",),
        felt=Felt(values="probability=1"),
        source="Zhong et al. 2020, Random Erasing Data Augmentation",
    ),
    Regularizer(
        name="swap_noise",
        target="regplug_regularizers.augmentation.swap_noise:SwapNoise",
        params=SwapNoiseParams,
        summary="Replaces entries by those of another row in the same column; for tables.",
        formula="m * x_j + (1 - m) * x_i by entry, j a random row, m ~ Bernoulli(probability)",
        before=("mixing",),
        tags=("stochastic",),
        source="Yoon et al. 2020, VIME: Extending the Success of Self- and Semi-supervised Learning to Tabular Domain",
    ),
)
