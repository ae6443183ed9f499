"""Rules that fill one parameter tensor in place.

`role` says what the tensor is: `weight`, `bias` or `norm` (a parameter of a normalization or an activation). Biases
become zero unless `bias` says otherwise. The parameters of normalizations and activations stay as torch starts them,
and so do weights of fewer than two axes where a rule needs fans.
"""

from __future__ import annotations

from collections.abc import Callable

from torch import Generator, Tensor, nn

from regplug_initializers import (
    ConstantParams,
    DrawnBias,
    GainParams,
    KaimingParams,
    LayerParams,
    NormalParams,
    UniformParams,
    ZerosParams,
)

# ruff: noqa: ARG001 - every rule is called with a generator, also where it draws nothing


def default(params: LayerParams, role: str, tensor: Tensor, generator: Generator) -> None:
    """Leaves the tensor as torch has started it, biases too.

    `nn.Linear` and `nn.Conv2d`: weights and biases uniform within `1 / sqrt(fan_in)`.
    """


def normal(params: NormalParams, role: str, tensor: Tensor, generator: Generator) -> None:
    """Draws weights from `N(mean, std^2)`."""

    def draw() -> None:
        nn.init.normal_(tensor, params.mean, params.std, generator=generator)

    _fill(role, tensor, draw, params.bias)


def uniform(params: UniformParams, role: str, tensor: Tensor, generator: Generator) -> None:
    """Draws weights uniformly between `low` and `high`."""

    def draw() -> None:
        nn.init.uniform_(tensor, params.low, params.high, generator=generator)

    _fill(role, tensor, draw, params.bias)


def constant(params: ConstantParams, role: str, tensor: Tensor, generator: Generator) -> None:
    """Sets every weight to `value`."""
    _fill(role, tensor, lambda: tensor.fill_(params.value), params.bias)


def zeros(params: ZerosParams, role: str, tensor: Tensor, generator: Generator) -> None:
    """Sets every weight to zero."""
    _fill(role, tensor, tensor.zero_, params.bias)


def xavier_uniform(params: GainParams, role: str, tensor: Tensor, generator: Generator) -> None:
    """Draws weights uniformly within `gain * sqrt(6 / (fan_in + fan_out))`.

    Source: Glorot and Bengio 2010.
    """

    def draw() -> None:
        nn.init.xavier_uniform_(tensor, params.gain, generator=generator)

    _fill_with_fans(role, tensor, draw, params.bias)


def xavier_normal(params: GainParams, role: str, tensor: Tensor, generator: Generator) -> None:
    """Draws weights from a normal distribution with standard deviation `gain * sqrt(2 / (fan_in + fan_out))`.

    Source: Glorot and Bengio 2010.
    """

    def draw() -> None:
        nn.init.xavier_normal_(tensor, params.gain, generator=generator)

    _fill_with_fans(role, tensor, draw, params.bias)


def kaiming_uniform(params: KaimingParams, role: str, tensor: Tensor, generator: Generator) -> None:
    """Draws weights uniformly within `gain * sqrt(3 / fan_in)`.

    The gain is torch's for the nonlinearity: sqrt(2) for relu, sqrt(2 / (1 + 0.01^2)) for leaky_relu with slope 0.01,
    5/3 for tanh, 1 for sigmoid and linear.

    Source: He, Zhang, Ren and Sun 2015.
    """

    def draw() -> None:
        # `a` is the slope of leaky_relu; for other nonlinearities it has no effect.
        nn.init.kaiming_uniform_(tensor, a=0.01, nonlinearity=params.nonlinearity, generator=generator)

    _fill_with_fans(role, tensor, draw, params.bias)


def kaiming_normal(params: KaimingParams, role: str, tensor: Tensor, generator: Generator) -> None:
    """Draws weights from a normal distribution with standard deviation `gain / sqrt(fan_in)`.

    The gains are those of `kaiming_uniform`.

    Source: He, Zhang, Ren and Sun 2015.
    """

    def draw() -> None:
        nn.init.kaiming_normal_(tensor, a=0.01, nonlinearity=params.nonlinearity, generator=generator)

    _fill_with_fans(role, tensor, draw, params.bias)


def orthogonal(params: GainParams, role: str, tensor: Tensor, generator: Generator) -> None:
    """Draws weights as a random matrix with orthonormal rows, or columns where there are more rows, times `gain`.

    Source: Saxe, McClelland and Ganguli 2013.
    """

    def draw() -> None:
        nn.init.orthogonal_(tensor, params.gain, generator=generator)

    _fill_with_fans(role, tensor, draw, params.bias)


def _fill_with_fans(role: str, tensor: Tensor, draw: Callable[[], object], bias: DrawnBias) -> None:
    if role != "weight" or tensor.ndim >= 2:
        _fill(role, tensor, draw, bias)


def _fill(role: str, tensor: Tensor, draw: Callable[[], object], bias: DrawnBias) -> None:
    if role == "weight" or (role == "bias" and bias == "same"):
        draw()
    elif role == "bias" and not isinstance(bias, str):
        tensor.fill_(bias)
