"""First-party losses: descriptors and parameters."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Annotated

from annotated_types import Gt, Le

from regplug.api import Loss, Parameters, Search, Stackable, hookimpl


class HuberParams(Parameters):
    """Parameters of `huber`."""

    delta: Annotated[float, Gt(0), Le(1e38), Stackable(), Search(low=0.1, high=10, log=True)] = 1.0
    "Size above which an error counts linearly."


@hookimpl
def regplug_losses() -> Iterator[Loss]:
    """Yields the first-party losses."""
    yield Loss(
        name="cross_entropy",
        target="regplug_losses.functions:CrossEntropy",
        summary="Negative log-likelihood of the true class, in nats: -log softmax(logits)[class].",
        tasks=("classification",),
        soft_targets=True,
        default_for=("classification",),
    )
    yield Loss(
        name="binary_cross_entropy",
        target="regplug_losses.functions:BinaryCrossEntropy",
        summary="Negative log-likelihood of each label, in nats: the mean over labels of -log sigmoid(+-logit).",
        tasks=("multilabel",),
        default_for=("multilabel",),
    )
    yield Loss(
        name="mse",
        target="regplug_losses.functions:SquaredError",
        summary="Mean squared error, (y - t)^2.",
        tasks=("regression",),
        default_for=("regression",),
    )
    yield Loss(
        name="half_squared_error",
        target="regplug_losses.functions:HalfSquaredError",
        summary="Half the mean squared error, (y - t)^2 / 2.",
        tasks=("regression",),
        source="Dive into Deep Learning 3.1",
    )
    yield Loss(
        name="huber",
        target="regplug_losses.functions:Huber",
        params=HuberParams,
        summary="Squared for errors below delta and linear above, so that outliers pull less.",
        tasks=("regression",),
        source="Huber 1964",
    )
    yield Loss(
        name="mae",
        target="regplug_losses.functions:AbsoluteError",
        summary="Mean absolute error, |y - t|.",
        tasks=("regression",),
    )
