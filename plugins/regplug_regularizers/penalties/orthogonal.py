"""Soft orthogonality."""

from __future__ import annotations

from collections.abc import Iterator
from typing import final

import torch
from torch import Tensor

from regplug.regularizer import Notice, Outputs, RegularizerFunctions, RunContext, Step, Tensors
from regplug_regularizers.penalties.places import check_places, chosen_weights, total


def orthogonality(weight: Tensor) -> Tensor:
    """Returns `||W W^T - I||_F^2`, a scalar: 0 where the weights into the units are orthonormal.

    A layer with more units than inputs cannot reach 0.

    Args:
        weight: `(units, inputs, ...)`; W is `(units, all others)`.

    Source: Bansal et al. 2018, equation 2, whose W is the transpose.
    """
    matrix = weight.flatten(1)
    return (matrix @ matrix.T - torch.eye(len(matrix), dtype=weight.dtype, device=weight.device)).square().sum()


@final
class Orthogonal(RegularizerFunctions):
    """Adds `strength` times `orthogonality` of each weight to the loss."""

    def check(self, context: RunContext) -> Iterator[Notice]:
        """Refuses places that are not there."""
        yield from check_places(context, "orthogonal", self.params)

    def penalty(self, step: Step, weights: Tensors, outputs: Outputs) -> Tensor | None:
        """The penalty, a scalar."""
        return total(step.settings["strength"], chosen_weights(step, weights, self.params), orthogonality)
