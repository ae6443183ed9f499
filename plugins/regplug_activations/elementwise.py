"""Elementwise activations: torch's own modules, and the derivative of each in closed form.

A derivative takes the parameters and `x` of any shape, and returns dy/dx of the same shape. At a kink it gives what
torch's autograd gives, the slope on one of the two sides.
"""

from __future__ import annotations

import math

import torch
from torch import Tensor, nn

from regplug.api import NoParams
from regplug_activations import (
    SELU_ALPHA,
    SELU_SCALE,
    ELUParams,
    GELUParams,
    LeakyReLUParams,
    PReLUParams,
    SoftplusParams,
)

# ruff: noqa: ARG001 - every activation and derivative is called with parameters, also where there are none


def relu(params: NoParams) -> nn.Module:
    """Returns `y = max(x, 0)`.

    Source: Nair and Hinton 2010.
    """
    return nn.ReLU()


def relu_derivative(params: NoParams, x: Tensor) -> Tensor:
    """Returns 1 for x > 0, else 0."""
    return (x > 0).to(x.dtype)


def leaky_relu(params: LeakyReLUParams) -> nn.Module:
    """Returns `y = x` for x > 0, else `negative_slope * x`.

    Source: Maas, Hannun and Ng 2013.
    """
    return nn.LeakyReLU(params.negative_slope)


def leaky_relu_derivative(params: LeakyReLUParams, x: Tensor) -> Tensor:
    """Returns 1 for x > 0, else `negative_slope`."""
    return torch.where(x > 0, 1.0, params.negative_slope).to(x.dtype)


def sigmoid(params: NoParams) -> nn.Module:
    """Returns `y = 1 / (1 + exp(-x))`."""
    return nn.Sigmoid()


def sigmoid_derivative(params: NoParams, x: Tensor) -> Tensor:
    """Returns `y (1 - y)`, at most 1/4."""
    return torch.sigmoid(x) * torch.sigmoid(-x)


def tanh(params: NoParams) -> nn.Module:
    """Returns `y = (exp(x) - exp(-x)) / (exp(x) + exp(-x))`.

    Source: LeCun, Bottou, Orr and Mueller 1998, Efficient BackProp.
    """
    return nn.Tanh()


def tanh_derivative(params: NoParams, x: Tensor) -> Tensor:
    """Returns `1 - tanh(x)^2`, at most 1."""
    return 1 - torch.tanh(x).square()


def gelu(params: GELUParams) -> nn.Module:
    """Returns `y = x Phi(x)`, Phi the standard normal distribution function.

    With `approximate="tanh"`, `Phi(x) ~ (1 + tanh(sqrt(2 / pi) (x + 0.044715 x^3))) / 2`.

    Source: Hendrycks and Gimpel 2016.
    """
    return nn.GELU(approximate=params.approximate)


def gelu_derivative(params: GELUParams, x: Tensor) -> Tensor:
    """Returns `Phi(x) + x Phi'(x)`, with the exact Phi or its approximation."""
    if params.approximate == "none":
        density = torch.exp(-x.square() / 2) / math.sqrt(2 * math.pi)
        chance: Tensor = torch.special.ndtr(x)
        return chance + x * density
    root = math.sqrt(2 / math.pi)
    bend = torch.tanh(root * (x + 0.044715 * x**3))
    slope = (1 - bend.square()) * root * (1 + 3 * 0.044715 * x.square())
    return (1 + bend + x * slope) / 2


def prelu(params: PReLUParams) -> nn.Module:
    """Returns `y = x` for x > 0, else `a * x`; `a` is one parameter that is trained, and starts at `negative_slope`.

    Source: He, Zhang, Ren and Sun 2015.
    """
    return nn.PReLU(init=params.negative_slope)


def prelu_derivative(params: PReLUParams, x: Tensor) -> Tensor:
    """Returns 1 for x > 0, else `negative_slope`: the derivative before training."""
    return torch.where(x > 0, 1.0, params.negative_slope).to(x.dtype)


def selu(params: NoParams) -> nn.Module:
    """Returns `y = scale * x` for x > 0, else `scale * alpha * (exp(x) - 1)`.

    `scale` = 1.0507 and `alpha` = 1.6733 map N(0, 1) to mean 0 and variance 1.

    Source: Klambauer, Unterthiner, Mayr and Hochreiter 2017.
    """
    return nn.SELU()


def selu_derivative(params: NoParams, x: Tensor) -> Tensor:
    """Returns `scale` for x > 0, else `scale * alpha * exp(x)`."""
    return SELU_SCALE * torch.where(x > 0, 1.0, SELU_ALPHA * torch.exp(x.clamp(max=0)))


def hardswish(params: NoParams) -> nn.Module:
    """Returns `y = x min(max(x + 3, 0), 6) / 6`.

    Source: Howard et al. 2019.
    """
    return nn.Hardswish()


def hardswish_derivative(params: NoParams, x: Tensor) -> Tensor:
    """Returns 0 up to -3, 1 from 3 on, and `x / 3 + 1/2` between them."""
    return torch.where(x <= -3, 0.0, torch.where(x >= 3, 1.0, x / 3 + 0.5)).to(x.dtype)


def hardtanh(params: NoParams) -> nn.Module:
    """Returns `y = min(max(x, -1), 1)`.

    Source: Collobert 2004.
    """
    return nn.Hardtanh()


def hardtanh_derivative(params: NoParams, x: Tensor) -> Tensor:
    """Returns 1 for -1 < x < 1, else 0."""
    return (x.abs() < 1).to(x.dtype)


def elu(params: ELUParams) -> nn.Module:
    """Returns `y = x` for x > 0, else `alpha (exp(x) - 1)`.

    Source: Clevert, Unterthiner and Hochreiter 2015.
    """
    return nn.ELU(alpha=params.alpha)


def elu_derivative(params: ELUParams, x: Tensor) -> Tensor:
    """Returns 1 for x > 0, else `alpha exp(x)`."""
    return torch.where(x > 0, 1.0, params.alpha * torch.exp(x.clamp(max=0)))


def celu(params: ELUParams) -> nn.Module:
    """Returns `y = x` for x > 0, else `alpha (exp(x / alpha) - 1)`.

    Source: Barron 2017.
    """
    return nn.CELU(alpha=params.alpha)


def celu_derivative(params: ELUParams, x: Tensor) -> Tensor:
    """Returns 1 for x > 0, else `exp(x / alpha)`."""
    return torch.where(x > 0, 1.0, torch.exp(x.clamp(max=0) / params.alpha))


def silu(params: NoParams) -> nn.Module:
    """Returns `y = x sigmoid(x)`.

    Source: Hendrycks and Gimpel 2016; Ramachandran, Zoph and Le 2017.
    """
    return nn.SiLU()


def silu_derivative(params: NoParams, x: Tensor) -> Tensor:
    """Returns `s + x s (1 - s)` with `s = sigmoid(x)`."""
    return torch.sigmoid(x) * (1 + x * torch.sigmoid(-x))


def mish(params: NoParams) -> nn.Module:
    """Returns `y = x tanh(log(1 + exp(x)))`.

    Source: Misra 2019.
    """
    return nn.Mish()


def mish_derivative(params: NoParams, x: Tensor) -> Tensor:
    """Returns `t + x (1 - t^2) sigmoid(x)` with `t = tanh(log(1 + exp(x)))`."""
    bend = torch.tanh(nn.functional.softplus(x))
    return bend + x * (1 - bend.square()) * torch.sigmoid(x)


def softplus(params: SoftplusParams) -> nn.Module:
    """Returns `y = log(1 + exp(beta x)) / beta`; where `beta x > 20`, torch returns `x`.

    Source: Dugas, Bengio, Belisle, Nadeau and Garcia 2000.
    """
    return nn.Softplus(beta=params.beta)


def softplus_derivative(params: SoftplusParams, x: Tensor) -> Tensor:
    """Returns `sigmoid(beta x)`."""
    return torch.sigmoid(params.beta * x)


class ScaledSigmoid(nn.Module):
    """`y = 4 sigmoid(x) - 2`, elementwise."""

    def forward(self, x: Tensor) -> Tensor:
        """Returns a tensor of the shape of `x`."""
        # The same as 4 * torch.sigmoid(x) - 2, which loses digits near zero.
        return 2 * torch.tanh(x / 2)


def scaled_sigmoid(params: NoParams) -> nn.Module:
    """Returns `y = 4 sigmoid(x) - 2 = 2 tanh(x / 2)`.

    Source: Glorot and Bengio 2010.
    """
    return ScaledSigmoid()


def scaled_sigmoid_derivative(params: NoParams, x: Tensor) -> Tensor:
    """Returns `4 sigmoid(x) sigmoid(-x)`, 1 at zero."""
    return 4 * torch.sigmoid(x) * torch.sigmoid(-x)


def softsign(params: NoParams) -> nn.Module:
    """Returns `y = x / (1 + |x|)`.

    Source: Bergstra, Desjardins, Lamblin and Bengio 2009.
    """
    return nn.Softsign()


def softsign_derivative(params: NoParams, x: Tensor) -> Tensor:
    """Returns `1 / (1 + |x|)^2`."""
    return 1 / (1 + x.abs()).square()


def identity(params: NoParams) -> nn.Module:
    """Returns `y = x`."""
    return nn.Identity()


def identity_derivative(params: NoParams, x: Tensor) -> Tensor:
    """Returns 1 everywhere."""
    return torch.ones_like(x)
