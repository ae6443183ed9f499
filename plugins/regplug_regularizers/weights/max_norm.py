"""A bound on the norm of the weights into each unit."""

from __future__ import annotations

from typing import final

import torch
from torch import Tensor

from regplug.regularizer import RegularizerFunctions, Step


@final
class MaxNorm(RegularizerFunctions):
    """After each step scales a unit's incoming weights `w_i` by `min(1, max_norm / (|w_i| + 1e-7))`, as torch.renorm.

    A unit is one entry of the weight's first axis: a row of a linear layer, a filter of a convolution.
    Source: Srebro and Shraibman 2005.
    """

    def project(self, step: Step, name: str, weight: Tensor) -> Tensor:
        """The nearest weight within the bound; biases and normalization parameters stay."""
        if step.clock.roles.get(name, "weight") != "weight":
            return weight
        norm = torch.linalg.vector_norm(weight.flatten(1), dim=1)
        scale: Tensor = (step.settings["max_norm"] / (norm + 1e-7)).clamp(max=1)
        return weight * scale.view(-1, *[1] * (weight.ndim - 1))
