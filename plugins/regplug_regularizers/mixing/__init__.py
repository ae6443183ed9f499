"""Mixing: training on blends of samples."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Annotated

from annotated_types import Ge

from regplug.api import Regularizer, Search, Stackable


@dataclass(frozen=True, kw_only=True)
class MixupParams:
    """Parameters of `mixup`."""

    alpha: Annotated[float, Ge(0), Stackable(off=0), Search(low=0.05, high=2.0, log=True)] = 0.2
    "Both parameters of the beta distribution of the share; 0 mixes nothing."


REGULARIZERS = (
    Regularizer(
        name="mixup",
        target="regplug_regularizers.mixing.mixup:Mixup",
        params=MixupParams,
        summary="Trains on random blends of two samples and of their targets.",
        tags=("stochastic", "mixing"),
        source="Zhang et al. 2018, mixup: Beyond Empirical Risk Minimization",
    ),
)
