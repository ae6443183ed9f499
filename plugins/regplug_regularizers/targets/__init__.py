"""Targets: what the network is asked to say."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Annotated

from annotated_types import Ge, Lt

from regplug.api import Regularizer, Schedulable, Search, Stackable


@dataclass(frozen=True, kw_only=True)
class LabelSmoothingParams:
    """Parameters of `label_smoothing`."""

    strength: Annotated[float, Ge(0), Lt(1), Schedulable(), Stackable(off=0), Search(low=0.0, high=0.3)] = 0.1
    "Share of the probability that is spread over all classes."


REGULARIZERS = (
    Regularizer(
        name="label_smoothing",
        target="regplug_regularizers.targets.label_smoothing:LabelSmoothing",
        params=LabelSmoothingParams,
        summary="Spreads a share of the target's probability over all classes.",
        formula="(1 - strength) * y + strength / classes",
        # The other order moves targets: a smoothed pair is not a pair smoothed.
        after=("mixing",),
        tasks=("classification",),
        tags=("soft-targets",),
        source="Szegedy et al. 2016, Rethinking the Inception Architecture",
    ),
)
