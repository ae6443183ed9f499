"""Elementwise activations: torch's own modules, and the derivative of each in closed form.

A derivative takes the parameters and `x` of any shape, and returns dy/dx of the same shape. At a kink it gives what
torch's autograd gives: the slope on the left.
"""

from __future__ import annotations

import math

import torch
from torch import Tensor, nn

from regplug.api import NoParams
from regplug_activations import GELUParams, LeakyReLUParams

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


def identity(params: NoParams) -> nn.Module:
    """Returns `y = x`."""
    return nn.Identity()


def identity_derivative(params: NoParams, x: Tensor) -> Tensor:
    """Returns 1 everywhere."""
    return torch.ones_like(x)
