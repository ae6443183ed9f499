"""Penalties: terms that are added to the loss."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Annotated

from annotated_types import Ge

from regplug.api import Felt, Regularizer, Schedulable, Search, Stackable


@dataclass(frozen=True, kw_only=True)
class PenaltyParams:
    """Parameters of `l1` and `l2`."""

    strength: Annotated[float, Ge(0), Schedulable(), Stackable(off=0), Search(low=1e-6, high=1e-1, log=True)] = 1e-4
    "What the sum is multiplied with."
    everything: bool = False
    "Whether biases and normalization parameters are penalised too."


REGULARIZERS = (
    Regularizer(
        name="l1",
        target="regplug_regularizers.penalties.norms:L1",
        params=PenaltyParams,
        summary="Adds strength * sum |w| to the loss; drives weights towards zero.",
        formula="loss + strength * sum |w|",
        felt=Felt(values="strength=0.1"),
        tags=("penalty",),
        source="Tibshirani 1996, Regression Shrinkage and Selection via the Lasso",
    ),
    Regularizer(
        name="l2",
        target="regplug_regularizers.penalties.norms:L2",
        params=PenaltyParams,
        summary="Adds strength/2 * sum w^2 to the loss: what torch's SGD calls weight_decay.",
        formula="loss + strength / 2 * sum w^2",
        felt=Felt(values="strength=0.1"),
        tags=("penalty", "coupled-decay"),
        source="Hoerl and Kennard 1970, Ridge Regression; Krogh and Hertz 1991",
    ),
)
