"""First-party initializers: descriptors and parameters."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Annotated, Any, Literal

from annotated_types import Ge, Gt, Lt

from regplug.api import Initializer, Parameters, hookimpl

OwnBias = float | Literal["default"]
DrawnBias = float | Literal["default", "same"]


class LayerParams(Parameters):
    """Parameters of every initializer."""

    at: str | tuple[str, ...] = ()
    "Layers to initialize, as globs of module names such as hidden*; by default all that no other --init names."


class NormalParams(LayerParams):
    """Parameters of `normal`."""

    mean: float = 0.0
    "Mean of the weights."
    std: Annotated[float, Ge(0)] = 0.01
    "Standard deviation of the weights."
    bias: DrawnBias = 0.0
    "Value of the biases; default: as torch starts them; same: drawn as the weights are."


class UniformParams(LayerParams):
    """Parameters of `uniform`."""

    low: float = -0.05
    "Least weight."
    high: float = 0.05
    "Greatest weight."
    bias: DrawnBias = 0.0
    "Value of the biases; default: as torch starts them; same: drawn as the weights are."

    def __post_init__(self) -> None:
        if self.low > self.high:
            raise ValueError(f"low={self.low} is above high={self.high}")


class ConstantParams(LayerParams):
    """Parameters of `constant`."""

    value: float = 0.0
    "Value of every weight. The units of a layer then stay equal, unless something random acts on them."
    bias: DrawnBias = 0.0
    "Value of the biases; default: as torch starts them; same: the value of the weights."


class ZerosParams(LayerParams):
    """Parameters of `zeros`."""

    bias: OwnBias = 0.0
    "Value of the biases; default: as torch starts them."


class GainParams(LayerParams):
    """Parameters of `xavier_uniform`, `xavier_normal` and `orthogonal`."""

    gain: Annotated[float, Gt(0)] = 1.0
    "Factor on the weights; 5/3 is usual for tanh. `regplug plugins show` tells an activation's gain."
    bias: OwnBias = 0.0
    "Value of the biases; default: as torch starts them."


class KaimingParams(LayerParams):
    """Parameters of `kaiming_uniform` and `kaiming_normal`."""

    nonlinearity: Literal["relu", "leaky_relu", "tanh", "sigmoid", "linear"] = "relu"
    "The activation that follows; it decides the gain."
    bias: OwnBias = 0.0
    "Value of the biases; default: as torch starts them."


class LsuvParams(LayerParams):
    """Parameters of `lsuv`."""

    tol: Annotated[float, Gt(0), Lt(1)] = 0.1
    "Largest distance of a layer's output variance from 1."
    max_iterations: Annotated[int, Ge(1)] = 10
    "Most times that a layer's weight is divided."
    bias: OwnBias = 0.0
    "Value of the biases; default: as torch starts them."


def _rule(name: str, summary: str, params: type, **declared: Any) -> Initializer:
    target = f"regplug_initializers.rules:{name}"
    return Initializer(name=name, target=target, params=params, summary=summary, **declared)


@hookimpl
def regplug_initializers() -> Iterator[Initializer]:
    """Yields the first-party initializers."""
    yield _rule(
        "default",
        "As torch starts each layer; linear: weights and biases uniform within 1/sqrt(fan_in).",
        LayerParams,
    )
    yield _rule("normal", "Weights N(mean, std^2).", NormalParams)
    yield _rule("uniform", "Weights uniform between low and high.", UniformParams)
    yield _rule("constant", "Sets every weight to the same value.", ConstantParams, tags=("deterministic",))
    yield _rule("zeros", "Sets every weight to zero.", ZerosParams, tags=("deterministic",))
    yield _rule(
        "xavier_uniform",
        "Weights uniform within gain * sqrt(6 / (fan_in + fan_out)).",
        GainParams,
        source="Glorot and Bengio 2010",
    )
    yield _rule(
        "xavier_normal",
        "Weights normal with standard deviation gain * sqrt(2 / (fan_in + fan_out)).",
        GainParams,
        source="Glorot and Bengio 2010",
    )
    yield _rule(
        "kaiming_uniform",
        "Weights uniform within gain * sqrt(3 / fan_in).",
        KaimingParams,
        source="He, Zhang, Ren and Sun 2015, arXiv:1502.01852",
    )
    yield _rule(
        "kaiming_normal",
        "Weights normal with standard deviation gain / sqrt(fan_in).",
        KaimingParams,
        source="He, Zhang, Ren and Sun 2015, arXiv:1502.01852",
    )
    yield _rule(
        "orthogonal",
        "Weights with orthonormal rows or columns, times gain; a kernel counts as a matrix with a row for each filter.",
        GainParams,
        source="Saxe, McClelland and Ganguli 2013, arXiv:1312.6120",
    )
    yield Initializer(
        name="lsuv",
        target="regplug_initializers.batch_rules:lsuv",
        params=LsuvParams,
        summary="Orthonormal weights, then divided so that each layer's output has variance 1 on 256 training rows.",
        source="Mishkin and Matas 2016, All you need is a good init, arXiv:1511.06422",
        sees_batch=True,
    )
