"""Penalties: terms that are added to the loss."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Annotated

from annotated_types import Ge, Le

from regplug.api import Felt, Regularizer, Schedulable, Search, Stackable


@dataclass(frozen=True, kw_only=True)
class PenaltyParams:
    """Parameters of `l1` and `l2`."""

    strength: Annotated[float, Ge(0), Schedulable(), Stackable(off=0), Search(low=1e-6, high=1e-1, log=True)] = 1e-4
    "What the sum is multiplied with."
    everything: bool = False
    "Whether biases and normalization parameters are penalised too."


@dataclass(frozen=True, kw_only=True)
class ElasticNetParams(PenaltyParams):
    """Parameters of `elastic_net`."""

    l1_share: Annotated[float, Ge(0), Le(1), Schedulable(), Stackable(), Search(low=0.0, high=1.0)] = 0.5
    "Share of the L1 penalty in the sum: 1 is l1, 0 is l2."


REGULARIZERS = (
    Regularizer(
        name="elastic_net",
        target="regplug_regularizers.penalties.elastic_net:ElasticNet",
        params=ElasticNetParams,
        summary="Adds a mixture of the L1 and the L2 penalty: sparse, and stable where features are correlated.",
        formula="loss + strength * (l1_share * sum |w| + (1 - l1_share) / 2 * sum w^2)",
        felt=Felt(values="strength=0.1"),
        tags=("penalty", "coupled-decay"),
        source="Zou and Hastie 2005, Regularization and Variable Selection via the Elastic Net",
    ),
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
