"""Gradient noise."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, final

from torch import Tensor

from regplug.noise import Draw, normal
from regplug.regularizer import RegularizerFunctions, Shapes, Step, Tensors


def variance_at(index: int, variance: Tensor, decay: Tensor) -> Tensor:
    """Returns `variance / (1 + t)^decay` for step t, counted from 0."""
    return variance / (1 + index) ** decay


@final
class GradientNoise(RegularizerFunctions):
    """Adds `N(0, variance / (1 + t)^decay)` to each entry of the gradients at step t.

    Source: Neelakantan et al. 2015, equations 1 and 2.
    """

    def noise(self, shapes: Shapes, settings: Mapping[str, Any]) -> Mapping[str, Draw]:
        """Noise of each parameter's shape."""
        return {name: normal(shape, per_sample=False) for name, shape in shapes.params.items()}

    def gradients(self, step: Step, params: Tensors, grads: Tensors) -> tuple[Tensors, Tensors]:
        """Noisy gradients."""
        std = variance_at(step.clock.index, step.settings["variance"], step.settings["decay"]).sqrt()
        return {name: grad + std * step.noise[name] for name, grad in grads.items()}, step.state
