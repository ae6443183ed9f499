"""Sharpness-aware minimization."""

from __future__ import annotations

from typing import final

import torch

from regplug.regularizer import RegularizerFunctions, Step, Tensors


@final
class Sam(RegularizerFunctions):
    """Takes the gradient at `w + rho * g / (|g| + 1e-12)`, `g` the gradient at `w` over all parameters.

    The second pass sees the same batch, masks and objective. Running statistics move in the first pass only.
    Source: Foret et al. 2021, with p = 2.
    """

    def perturb(self, step: Step, params: Tensors, grads: Tensors) -> Tensors | None:
        """The point of the second gradient."""
        norms = torch.stack([torch.linalg.vector_norm(grad) for grad in grads.values()])
        scale = step.settings["rho"] / (torch.linalg.vector_norm(norms) + 1e-12)
        return {name: param + grads[name] * scale for name, param in params.items()}
