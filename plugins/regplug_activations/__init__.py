"""First-party activations: descriptors and parameters."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from math import inf
from typing import Annotated, Literal

from annotated_types import Ge

from regplug.api import Activation, hookimpl


@dataclass(frozen=True, kw_only=True)
class LeakyReLUParams:
    """Parameters of `leaky_relu`."""

    negative_slope: Annotated[float, Ge(0)] = 0.01
    "Slope left of zero."


@dataclass(frozen=True, kw_only=True)
class GELUParams:
    """Parameters of `gelu`."""

    approximate: Literal["none", "tanh"] = "none"
    "none: with the exact normal distribution function; tanh: with an approximation of it."


@hookimpl
def regplug_activations() -> Iterator[Activation]:
    """Yields the first-party activations."""
    yield Activation(
        name="relu",
        target="regplug_activations.elementwise:relu",
        derivative="regplug_activations.elementwise:relu_derivative",
        summary="max(x, 0).",
        range=(0, inf),
        kinks=(0,),
        source="Nair and Hinton 2010; Glorot, Bordes and Bengio 2011",
    )
    yield Activation(
        name="leaky_relu",
        target="regplug_activations.elementwise:leaky_relu",
        derivative="regplug_activations.elementwise:leaky_relu_derivative",
        params=LeakyReLUParams,
        summary="x right of zero, negative_slope * x left of it.",
        kinks=(0,),
        source="Maas, Hannun and Ng 2013",
    )
    yield Activation(
        name="sigmoid",
        target="regplug_activations.elementwise:sigmoid",
        derivative="regplug_activations.elementwise:sigmoid_derivative",
        summary="1 / (1 + exp(-x)).",
        range=(0, 1),
    )
    yield Activation(
        name="tanh",
        target="regplug_activations.elementwise:tanh",
        derivative="regplug_activations.elementwise:tanh_derivative",
        summary="(exp(x) - exp(-x)) / (exp(x) + exp(-x)).",
        range=(-1, 1),
        source="LeCun, Bottou, Orr and Mueller 1998, Efficient BackProp",
    )
    yield Activation(
        name="gelu",
        target="regplug_activations.elementwise:gelu",
        derivative="regplug_activations.elementwise:gelu_derivative",
        params=GELUParams,
        summary="x times the chance that a standard normal number is below x.",
        range=(-0.169971207479904, inf),
        source="Hendrycks and Gimpel 2016, arXiv:1606.08415",
    )
    yield Activation(
        name="identity",
        target="regplug_activations.elementwise:identity",
        derivative="regplug_activations.elementwise:identity_derivative",
        summary="x: the network stays linear.",
    )
