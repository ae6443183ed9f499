"""Adaptive sharpness-aware minimization."""

from __future__ import annotations

from typing import final

import torch
from torch import Tensor

from regplug.regularizer import RegularizerFunctions, Step, Tensors


def adaptive_point(params: Tensors, grads: Tensors, scales: Tensors, rho: Tensor) -> dict[str, Tensor]:
    """Returns `w + rho * T^2 g / (|T g| + 1e-12)` with the norm over all parameters together.

    Args:
        params: Name -> parameter w.
        grads: Name -> gradient g at w.
        scales: Name -> the diagonal of T, of the parameter's shape.
        rho: Scalar.
    """
    scaled = {name: scales[name] * grad for name, grad in grads.items()}
    norm = torch.linalg.vector_norm(torch.stack([torch.linalg.vector_norm(each) for each in scaled.values()]))
    factor = rho / (norm + 1e-12)
    return {name: value + factor * scales[name] * scaled[name] for name, value in params.items()}


@final
class Asam(RegularizerFunctions):
    """Takes the gradient at `w + rho * T^2 g / |T g|`, where T is `|w| + eta` for a weight and 1 for the others.

    So the radius does not depend on the scale of the weights. The second pass sees the same batch, masks and
    objective. Running statistics move in the first pass only. Source: Kwon et al. 2021, equation 8 and section 4, with
    p = 2 and T as in the authors' code.
    """

    def perturb(self, step: Step, params: Tensors, grads: Tensors) -> Tensors | None:
        """The point of the second gradient."""
        weights = step.select(params)
        eta = step.settings["eta"]
        scales = {n: value.abs() + eta if n in weights else torch.ones_like(value) for n, value in params.items()}
        return adaptive_point(params, grads, scales, step.settings["rho"])
