"""Noise on inputs and activations."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Annotated

from annotated_types import Ge, Lt

from regplug.api import Regularizer, Schedulable, Search, Stackable

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
class InputNoiseParams:
    """Parameters of `input_noise`."""

    std: Annotated[float, Ge(0), Schedulable(), Stackable(off=0), Search(low=1e-2, high=1.0, log=True)] = 0.1
    "Standard deviation of the noise, in units of the normalised input."


REGULARIZERS = (
    Regularizer(
        name="dropout",
        target="regplug_regularizers.noise.dropout:Dropout",
        params=DropoutParams,
        summary="Sets entries of activations to zero at random and scales the others up.",
        after=("normalization",),
        tags=("stochastic", "keeps-mean"),
        source="Srivastava et al. 2014, Dropout: A Simple Way to Prevent Neural Networks from Overfitting",
    ),
    Regularizer(
        name="input_noise",
        target="regplug_regularizers.noise.input_noise:InputNoise",
        params=InputNoiseParams,
        summary="Adds Gaussian noise to the normalised inputs.",
        tags=("stochastic", "keeps-mean"),
        source="Bishop 1995, Training with Noise is Equivalent to Tikhonov Regularization",
    ),
)
