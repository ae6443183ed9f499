"""Gradient centralization."""

from __future__ import annotations

from typing import final

from torch import Tensor

from regplug.regularizer import RegularizerFunctions, Step, Tensors


def centralized(grad: Tensor) -> Tensor:
    """Returns the gradient minus its mean over the inputs of each unit.

    Args:
        grad: `(units, ...)`, of two axes or more.
    """
    return grad - grad.mean(dim=tuple(range(1, grad.ndim)), keepdim=True)


@final
class GradientCentralization(RegularizerFunctions):
    """Subtracts from the gradient of each unit's weights its mean; biases and normalization are spared.

    Source: Yong et al. 2020, equation 1.
    """

    def gradients(self, step: Step, params: Tensors, grads: Tensors) -> tuple[Tensors, Tensors]:
        """Centralized gradients."""
        weights = {name: centralized(grad) for name, grad in step.select(grads).items() if grad.ndim > 1}
        return {**grads, **weights}, step.state
