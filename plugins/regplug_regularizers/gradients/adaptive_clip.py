"""Adaptive clipping of gradients."""

from __future__ import annotations

from typing import final

import torch
from torch import Tensor

from regplug.regularizer import RegularizerFunctions, Step, Tensors

_LEAST_GRADIENT = 1e-6
"""As in the authors' code, which divides by no smaller norm of a gradient."""


def unit_norms(tensor: Tensor) -> Tensor:
    """Returns the norm of the weights into each unit, `(units, 1, ...)`; of a bias or a scale the norm of all of it."""
    axes = tuple(range(1, tensor.ndim)) if tensor.ndim > 1 else None
    norm: Tensor = torch.linalg.vector_norm(tensor, dim=axes, keepdim=tensor.ndim > 1)
    return norm


def clipped(grad: Tensor, param: Tensor, ratio: Tensor, eps: Tensor) -> Tensor:
    """Returns the gradient, by unit `g * ratio * max(|w|, eps) / |g|` where `|g| > ratio * max(|w|, eps)`.

    Args:
        grad: Any shape; the first axis is that of the units.
        param: Of the same shape.
        ratio: Greatest norm of a gradient, as a share of that of its weights: scalar.
        eps: Least norm of weights that counts: scalar.
    """
    bound = ratio * torch.maximum(unit_norms(param), eps)
    norms = unit_norms(grad)
    return torch.where(norms > bound, grad * (bound / norms.clamp(min=_LEAST_GRADIENT)), grad)


@final
class AdaptiveClip(RegularizerFunctions):
    """Scales a unit's gradient down where it is large beside the unit's weights.

    The paper leaves the last layer out; here all are clipped. Source: Brock et al. 2021, equation 3.
    """

    def gradients(self, step: Step, params: Tensors, grads: Tensors) -> tuple[Tensors, Tensors]:
        """Clipped gradients."""
        ratio, eps = step.settings["ratio"], step.settings["eps"]
        return {name: clipped(grad, params[name], ratio, eps) for name, grad in grads.items()}, step.state
