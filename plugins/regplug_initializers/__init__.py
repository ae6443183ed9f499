"""First-party initializers: descriptors and parameters."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from typing import Annotated, Literal

from annotated_types import Ge, Gt

from regplug.api import Initializer, hookimpl


@dataclass(frozen=True, kw_only=True)
class NormalParams:
    """Parameters of `normal`."""

    mean: float = 0.0
    "Mean of the weights."
    std: Annotated[float, Ge(0)] = 0.01
    "Standard deviation of the weights."


@dataclass(frozen=True, kw_only=True)
class XavierUniformParams:
    """Parameters of `xavier_uniform`."""

    gain: Annotated[float, Gt(0)] = 1.0
    "Factor on the bound; 5/3 is usual for tanh."


@dataclass(frozen=True, kw_only=True)
class KaimingUniformParams:
    """Parameters of `kaiming_uniform`."""

    nonlinearity: Literal["relu", "leaky_relu", "tanh", "sigmoid", "linear"] = "relu"
    "The activation that follows; it decides the gain."


@hookimpl
def regplug_initializers() -> Iterator[Initializer]:
    """Yields the first-party initializers."""
    yield Initializer(
        name="default",
        target="regplug_initializers.rules:default",
        summary="As torch starts each layer; linear: weights and biases uniform within 1/sqrt(fan_in).",
    )
    yield Initializer(
        name="normal",
        target="regplug_initializers.rules:normal",
        params=NormalParams,
        summary="Weights N(mean, std^2), biases 0.",
    )
    yield Initializer(
        name="xavier_uniform",
        target="regplug_initializers.rules:xavier_uniform",
        params=XavierUniformParams,
        summary="Weights uniform within gain * sqrt(6 / (fan_in + fan_out)), biases 0.",
        source="Glorot and Bengio 2010",
    )
    yield Initializer(
        name="kaiming_uniform",
        target="regplug_initializers.rules:kaiming_uniform",
        params=KaimingUniformParams,
        summary="Weights uniform within gain * sqrt(3 / fan_in), biases 0.",
        source="He, Zhang, Ren and Sun 2015, arXiv:1502.01852",
    )
