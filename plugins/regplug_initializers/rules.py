"""Rules that fill one parameter tensor in place.

`role` says what the tensor is: `weight`, `bias` or `norm` (a parameter of a normalization or an activation). Every rule
but `default` sets biases to zero; every rule leaves the parameters of normalizations and activations as torch starts
them.
"""

from __future__ import annotations

from torch import Generator, Tensor, nn

from regplug.api import NoParams
from regplug_initializers import KaimingUniformParams, NormalParams, XavierUniformParams


def default(params: NoParams, role: str, tensor: Tensor, generator: Generator) -> None:
    """Leaves the tensor as torch has started it, biases too.

    `nn.Linear` and `nn.Conv2d`: weights and biases uniform within `1 / sqrt(fan_in)`.
    """


def normal(params: NormalParams, role: str, tensor: Tensor, generator: Generator) -> None:
    """Draws weights from `N(mean, std^2)`; biases 0."""
    if role == "weight":
        nn.init.normal_(tensor, params.mean, params.std, generator=generator)
    _zero_bias(role, tensor)


def xavier_uniform(params: XavierUniformParams, role: str, tensor: Tensor, generator: Generator) -> None:
    """Draws weights uniformly within `gain * sqrt(6 / (fan_in + fan_out))`; biases 0.

    A weight of fewer than two axes has no fans and stays as torch started it.

    Source: Glorot and Bengio 2010.
    """
    if _has_fans(role, tensor):
        nn.init.xavier_uniform_(tensor, params.gain, generator=generator)
    _zero_bias(role, tensor)


def kaiming_uniform(params: KaimingUniformParams, role: str, tensor: Tensor, generator: Generator) -> None:
    """Draws weights uniformly within `gain * sqrt(3 / fan_in)`; biases 0.

    The gain is torch's for the nonlinearity: sqrt(2) for relu, sqrt(2 / (1 + 0.01^2)) for leaky_relu with slope 0.01,
    5/3 for tanh, 1 for sigmoid and linear. A weight of fewer than two axes has no fans and stays as torch started it.

    Source: He, Zhang, Ren and Sun 2015.
    """
    if _has_fans(role, tensor):
        # `a` is the slope of leaky_relu; other nonlinearities take no notice of it.
        nn.init.kaiming_uniform_(tensor, a=0.01, nonlinearity=params.nonlinearity, generator=generator)
    _zero_bias(role, tensor)


def _has_fans(role: str, tensor: Tensor) -> bool:
    return role == "weight" and tensor.ndim >= 2


def _zero_bias(role: str, tensor: Tensor) -> None:
    if role == "bias":
        nn.init.zeros_(tensor)
