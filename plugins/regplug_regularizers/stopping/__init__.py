"""Stopping: how long a run trains."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Annotated, Literal

from annotated_types import Ge

from regplug.api import Felt, Regularizer, Search, Stackable


@dataclass(frozen=True, kw_only=True)
class EarlyStoppingParams:
    """Parameters of `early_stopping`."""

    patience: Annotated[int, Ge(1), Stackable(), Search(low=2, high=20)] = 5
    "Epochs without improvement after which the run stops."
    min_delta: Annotated[float, Ge(0), Stackable()] = 0.0
    "What the validation loss must fall by to count as an improvement."
    keep: Literal["best", "last"] = "best"
    "Which weights the run ends with: those of the best epoch, or the last ones."


REGULARIZERS = (
    Regularizer(
        name="early_stopping",
        target="regplug_regularizers.stopping.early_stopping:EarlyStopping",
        params=EarlyStoppingParams,
        summary="Stops when the validation loss no longer falls, and goes back to the best epoch.",
        formula="stop after patience epochs without validation loss < best - min_delta",
        felt=Felt(values="patience=1,min_delta=1e9"),
        after=("averaging",),
        tags=("stopping",),
        source="Prechelt 1998, Early Stopping - But When?",
    ),
)
