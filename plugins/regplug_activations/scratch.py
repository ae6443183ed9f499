"""Activations written with elementary operations, and the derivative of each by hand.

The textbook's `1 / (1 + exp(-x))` and `(1 - exp(-2x)) / (1 + exp(-2x))` overflow far left of zero, and their gradient
is NaN there. Here `exp` is never called with a positive number.
"""

from __future__ import annotations

import torch
from torch import Tensor, nn

from regplug.api import NoParams

# ruff: noqa: ARG001 - every activation and derivative is called with parameters, also where there are none


class ReLUScratch(nn.Module):
    """`y = max(x, 0)`, elementwise."""

    def forward(self, x: Tensor) -> Tensor:
        """Returns a tensor of the shape of `x`."""
        return torch.where(x <= 0, torch.zeros_like(x), x)


class SigmoidScratch(nn.Module):
    """`y = 1 / (1 + exp(-x))`, elementwise; left of zero computed as `exp(x) / (1 + exp(x))`."""

    def forward(self, x: Tensor) -> Tensor:
        """Returns a tensor of the shape of `x`."""
        is_right = x >= 0
        power = torch.exp(torch.where(is_right, -x, x))
        return torch.where(is_right, 1 / (1 + power), power / (1 + power))


class TanhScratch(nn.Module):
    """`y = (1 - exp(-2x)) / (1 + exp(-2x))`, elementwise; left of zero its mirror image."""

    def forward(self, x: Tensor) -> Tensor:
        """Returns a tensor of the shape of `x`."""
        is_right = x >= 0
        power = torch.exp(torch.where(is_right, -2 * x, 2 * x))
        value = (1 - power) / (1 + power)
        return torch.where(is_right, value, -value)


def relu_scratch(params: NoParams) -> nn.Module:
    """Returns `y = max(x, 0)`.

    Source: Zhang et al., Dive into Deep Learning, section 5.1.
    """
    return ReLUScratch()


def relu_scratch_derivative(params: NoParams, x: Tensor) -> Tensor:
    """Returns 1 for x > 0, else 0."""
    return (x > 0).to(x.dtype)


def sigmoid_scratch(params: NoParams) -> nn.Module:
    """Returns `y = 1 / (1 + exp(-x))`.

    Source: Zhang et al., Dive into Deep Learning, section 5.1.
    """
    return SigmoidScratch()


def sigmoid_scratch_derivative(params: NoParams, x: Tensor) -> Tensor:
    """Returns `exp(-|x|) / (1 + exp(-|x|))^2`, which is `y (1 - y)`."""
    power = torch.exp(-x.abs())
    return power / (1 + power).square()


def tanh_scratch(params: NoParams) -> nn.Module:
    """Returns `y = (exp(x) - exp(-x)) / (exp(x) + exp(-x))`.

    Source: Zhang et al., Dive into Deep Learning, section 5.1.
    """
    return TanhScratch()


def tanh_scratch_derivative(params: NoParams, x: Tensor) -> Tensor:
    """Returns `4 exp(-2|x|) / (1 + exp(-2|x|))^2`, which is `1 - y^2`."""
    power = torch.exp(-2 * x.abs())
    return 4 * power / (1 + power).square()
