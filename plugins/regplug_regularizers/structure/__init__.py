"""Structure: connections that a network does not have."""

from __future__ import annotations

from typing import Annotated

from annotated_types import Ge, Lt

from regplug.api import Parameters, Regularizer, Schedulable, Search, Stackable


class SkipParams(Parameters):
    """Parameters of `skip`."""

    drop_probability: Annotated[float, Ge(0), Lt(1), Schedulable(), Stackable(), Search(low=0.0, high=0.8)] = 0.0
    "Chance that a row drops the last branch; that of the others falls linearly towards the input. 0 drops none."
    shake_shake: bool = False
    "Whether a layer has two branches, weighed at random in training and equally in evaluation."
    at: str | tuple[str, ...] = ()
    "Globs of linear modules to pass by; without it those of all hidden layers but the first."


REGULARIZERS = (
    Regularizer(
        name="skip",
        target="regplug_regularizers.structure.skip:Skip",
        params=SkipParams,
        summary="Adds residual connections around hidden layers, with stochastic depth or Shake-Shake.",
        formula="h + f(W h + b)",
        after=("normalization", "stochastic", "reparametrization", "weight-noise", "penalty"),
        source="Kadra et al. 2021, Well-tuned Simple Nets Excel on Tabular Datasets; Gastaldi 2017, Shake-Shake",
    ),
)
