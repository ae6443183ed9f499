"""Clipping of each gradient's entries."""

from __future__ import annotations

from typing import final

import torch

from regplug.regularizer import RegularizerFunctions, Step, Tensors


@final
class ClipValue(RegularizerFunctions):
    """Keeps each entry of the gradients within +- max_value, as torch's clip_grad_value_."""

    def gradients(self, step: Step, params: Tensors, grads: Tensors) -> tuple[Tensors, Tensors]:
        """Clipped gradients."""
        bound = step.settings["max_value"]
        return {name: torch.clamp(grad, -bound, bound) for name, grad in grads.items()}, step.state
