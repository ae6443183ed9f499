"""Clipping of the gradients' norm."""

from __future__ import annotations

from typing import final

import torch

from regplug.regularizer import RegularizerFunctions, Step, Tensors


@final
class ClipNorm(RegularizerFunctions):
    """Multiplies all gradients with `min(1, max_norm / (norm + 1e-6))`, as torch's clip_grad_norm_.

    Source: Pascanu et al. 2013.
    """

    def gradients(self, step: Step, params: Tensors, grads: Tensors) -> tuple[Tensors, Tensors]:
        """Clipped gradients."""
        norms = torch.stack([torch.linalg.vector_norm(grad) for grad in grads.values()])
        scale = (step.settings["max_norm"] / (torch.linalg.vector_norm(norms) + 1e-6)).clamp(max=1)
        return {name: grad * scale for name, grad in grads.items()}, step.state
