"""Weights: bounds on them, and averages of them."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Annotated

from annotated_types import Ge, Gt, Lt

from regplug.api import Felt, Regularizer, Schedulable, Search, Stackable


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


REGULARIZERS = (
    Regularizer(
        name="max_norm",
        target="regplug_regularizers.weights.max_norm:MaxNorm",
        params=MaxNormParams,
        summary="Keeps the norm of the weights into each unit below a bound.",
        formula="w_i * min(1, max_norm / |w_i|)",
        felt=Felt(values="max_norm=0.1"),
        tags=("projection",),
        source="Srebro and Shraibman 2005; Srivastava et al. 2014, section 5.1",
    ),
    Regularizer(
        name="swa",
        target="regplug_regularizers.weights.swa:Swa",
        params=SwaParams,
        summary="Ends with the average of the weights over the last epochs.",
        formula="mean of w over the epochs after start",
        felt=Felt(values="start=0.1"),
        tags=("averaging",),
        source="Izmailov et al. 2018, Averaging Weights Leads to Wider Optima and Better Generalization",
    ),
)
