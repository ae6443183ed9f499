"""Stopping: how long a run trains, and its learning rate once it no longer improves."""

from __future__ import annotations

from typing import Annotated, Literal

from annotated_types import Ge, Gt, Lt

from regplug.api import Felt, Parameters, Regularizer, Search, Stackable


class EarlyStoppingParams(Parameters):
    """Parameters of `early_stopping`."""

    patience: Annotated[int, Ge(1), Stackable(), Search(low=2, high=20)] = 5
    "Epochs without improvement after which the run stops."
    min_delta: Annotated[float, Ge(0), Stackable()] = 0.0
    "Smallest decrease of the validation loss that counts as an improvement."
    keep: Literal["best", "last"] = "best"
    "Which weights the run ends with: those of the best epoch, or the last ones."


class PlateauParams(Parameters):
    """Parameters of `plateau`."""

    factor: Annotated[float, Gt(0), Lt(1), Stackable(), Search(low=0.1, high=0.7)] = 0.1
    "Factor of the learning rate at each cut."
    patience: Annotated[int, Ge(0), Stackable(), Search(low=1, high=10)] = 10
    "Epochs without improvement that are tolerated; the next one cuts the learning rate."
    threshold: Annotated[float, Ge(0), Lt(1), Stackable()] = 1e-4
    "Smallest decrease that counts as an improvement, as a share of the best loss."
    cooldown: Annotated[int, Ge(0), Stackable()] = 0
    "Epochs after a cut that do not count."
    lowest: Annotated[float, Ge(0), Lt(1), Stackable()] = 0.0
    "Lowest learning rate, as a share of the initial one."


class WarmRestartsParams(Parameters):
    """Parameters of `warm_restarts`."""

    first: Annotated[int, Ge(1)] = 10
    "Epochs of the first period."
    growth: Annotated[int, Ge(1)] = 2
    "Ratio of the length of a period to that of the previous one."
    lowest: Annotated[float, Ge(0), Lt(1), Stackable(), Search(low=0.0, high=0.5)] = 0.0
    "Learning rate at the end of a period, as a share of that at its start."


REGULARIZERS = (
    Regularizer(
        name="early_stopping",
        target="regplug_regularizers.stopping.early_stopping:EarlyStopping",
        params=EarlyStoppingParams,
        summary="Stops when the validation loss no longer falls, and restores the best epoch.",
        formula="stop after patience epochs without validation loss < best - min_delta",
        felt=Felt(values="patience=1,min_delta=1e9"),
        after=("averaging",),
        tags=("stopping",),
        source="Prechelt 1998, Early Stopping - But When?",
    ),
    Regularizer(
        name="plateau",
        target="regplug_regularizers.stopping.plateau:Plateau",
        params=PlateauParams,
        summary="Cuts the learning rate when the validation loss no longer falls.",
        formula="rate = factor * rate after `patience` epochs without loss < best * (1 - threshold)",
        felt=Felt(values="patience=0,threshold=0.9"),
        tags=("learning-rate",),
        source="torch.optim.lr_scheduler.ReduceLROnPlateau",
    ),
    Regularizer(
        name="warm_restarts",
        target="regplug_regularizers.stopping.warm_restarts:WarmRestarts",
        params=WarmRestartsParams,
        summary="Lowers the learning rate along a cosine, then restarts.",
        formula="rate = lowest + (1 - lowest) * (1 + cos(pi * T / T_i)) / 2",
        tags=("learning-rate",),
        source="Loshchilov and Hutter 2017, SGDR: Stochastic Gradient Descent with Warm Restarts",
    ),
)
