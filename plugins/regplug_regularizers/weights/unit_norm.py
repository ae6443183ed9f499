"""The weights into each unit have norm 1."""

from __future__ import annotations

from typing import final

import torch
from torch import Tensor

from regplug.regularizer import RegularizerFunctions, Step

_SMALLEST = 1e-12


@final
class UnitNorm(RegularizerFunctions):
    """After each step divides a unit's incoming weights by their Euclidean norm; zeros stay zeros.

    A unit is one entry of the weight's first axis: a row of a linear layer, a filter of a convolution.
    Source: Salimans and Kingma 2016, with the length fixed; as the UnitNorm constraint of Keras.
    """

    def project(self, step: Step, name: str, weight: Tensor) -> Tensor:
        """The nearest weight of that norm; biases and normalization parameters stay."""
        if step.clock.roles.get(name, "weight") != "weight":
            return weight
        norm_U = torch.linalg.vector_norm(weight.flatten(1), dim=1)
        unit: Tensor = weight / norm_U.clamp(min=_SMALLEST).view(-1, *[1] * (weight.ndim - 1))
        return unit
