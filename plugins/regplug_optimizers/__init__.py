"""First-party optimizers: descriptors and parameters. None decays weights: that is the regularizer `weight_decay`."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Annotated

from annotated_types import Ge, Gt, Lt

from regplug.api import Optimizer, Parameters, Search, Stackable, hookimpl

Share = Annotated[float, Ge(0), Lt(1), Stackable()]
Small = Annotated[float, Gt(0), Stackable()]

_RULES = "regplug_optimizers.rules"


class SgdParams(Parameters):
    """Parameters of `sgd`."""

    momentum: Annotated[Share, Search(low=0.0, high=0.99)] = 0.0
    "Share of its last move that a parameter keeps."
    nesterov: bool = False
    "Whether the momentum looks ahead."

    def __post_init__(self) -> None:
        if self.nesterov and not self.momentum:
            raise ValueError("nesterov=true needs a momentum, such as momentum=0.9.")


class AdamParams(Parameters):
    """Parameters of `adam` and `adamw`."""

    beta1: Annotated[Share, Search(low=0.5, high=0.99)] = 0.9
    "Share of the mean gradient that a step keeps."
    beta2: Annotated[Share, Search(low=0.9, high=0.9999)] = 0.999
    "Share of the mean squared gradient that a step keeps."
    eps: Small = 1e-8
    "Added to the root of the mean squared gradient."


class NadamParams(AdamParams):
    """Parameters of `nadam`."""

    beta2: Annotated[Share, Search(low=0.9, high=0.9999)] = 0.999
    "Share of the mean squared gradient that a step keeps."
    momentum_decay: Annotated[float, Ge(0)] = 0.004
    "How fast the momentum rises to beta1."


class RmspropParams(Parameters):
    """Parameters of `rmsprop`."""

    alpha: Annotated[Share, Search(low=0.8, high=0.999)] = 0.99
    "Share of the mean squared gradient that a step keeps."
    eps: Small = 1e-8
    "Added to the root of the mean squared gradient."
    momentum: Share = 0.0
    "Share of its last move that a parameter keeps."
    centered: bool = False
    "Whether to use the gradient's variance instead of its mean square."


class AdagradParams(Parameters):
    """Parameters of `adagrad`."""

    initial: Annotated[float, Ge(0), Stackable()] = 0.0
    "Initial value of the sum of squared gradients."
    rate_decay: Annotated[float, Ge(0), Stackable()] = 0.0
    "The rate is divided by 1 + rate_decay * steps done."
    eps: Small = 1e-10
    "Added to the root of the sum of squared gradients."


class LionParams(Parameters):
    """Parameters of `lion`."""

    beta1: Annotated[Share, Search(low=0.5, high=0.99)] = 0.9
    "Share of the mean gradient in the move, whose sign is taken."
    beta2: Annotated[Share, Search(low=0.9, high=0.999)] = 0.99
    "Share of the mean gradient that a step keeps."


@hookimpl
def regplug_optimizers() -> Iterator[Optimizer]:
    """Yields the first-party optimizers."""
    yield Optimizer(
        name="sgd",
        target=f"{_RULES}:SGD",
        params=SgdParams,
        summary="Stochastic gradient descent, optionally with momentum or Nesterov's momentum.",
        source="Sutskever et al. 2013, for the momentum",
    )
    yield Optimizer(
        name="adam",
        target=f"{_RULES}:Adam",
        params=AdamParams,
        summary="Divides the mean gradient by the root of the mean squared gradient, both bias-corrected.",
        tags=("adaptive",),
        source="Kingma and Ba 2015",
    )
    yield Optimizer(
        name="adamw",
        target=f"{_RULES}:Adam",
        params=AdamParams,
        summary="Adam, under the name that it has with decoupled decay; add the decay as --reg weight_decay.",
        tags=("adaptive",),
        source="Loshchilov and Hutter 2019",
    )
    yield Optimizer(
        name="nadam",
        target=f"{_RULES}:NAdam",
        params=NadamParams,
        summary="Adam with Nesterov's momentum.",
        tags=("adaptive",),
        source="Dozat 2016",
    )
    yield Optimizer(
        name="rmsprop",
        target=f"{_RULES}:RMSprop",
        params=RmspropParams,
        summary="Divides the gradient by the root of its mean square.",
        tags=("adaptive",),
        source="Hinton 2012, lecture 6e",
    )
    yield Optimizer(
        name="adagrad",
        target=f"{_RULES}:Adagrad",
        params=AdagradParams,
        summary="Divides the gradient by the root of the sum of all its squares.",
        tags=("adaptive",),
        source="Duchi, Hazan and Singer 2011",
    )
    yield Optimizer(
        name="lion",
        target=f"{_RULES}:Lion",
        params=LionParams,
        summary="Moves every parameter by the rate, against the sign of a mean gradient; use a tenth of Adam's rate.",
        tags=("adaptive",),
        source="Chen et al. 2023, algorithm 2",
    )
