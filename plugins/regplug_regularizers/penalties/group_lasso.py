"""The group lasso on units."""

from __future__ import annotations

import math
from collections.abc import Iterator
from typing import final

import torch
from torch import Tensor

from regplug.regularizer import Notice, Outputs, RegularizerFunctions, RunContext, Step, Tensors
from regplug_regularizers.penalties.places import check_places, chosen_weights, total


def group_lasso(weight: Tensor, groups: str) -> Tensor:
    """Returns `sum_g sqrt(|g|) * ||w_g||_2`, a scalar, where |g| is the number of entries of a group.

    Args:
        weight: `(units, inputs, ...)`.
        groups: `units`: the weights into one unit; `inputs`: the weights that leave one input.

    Source: Yuan and Lin 2006, equation 2.1; on networks Scardapane et al. 2017.
    """
    rows = (weight if groups == "units" else weight.transpose(0, 1)).flatten(1)
    norms: Tensor = torch.linalg.vector_norm(rows, dim=1)
    return math.sqrt(rows.shape[1]) * norms.sum()


@final
class GroupLasso(RegularizerFunctions):
    """Adds `strength` times `group_lasso` of each weight to the loss: whole groups go to zero together."""

    def check(self, context: RunContext) -> Iterator[Notice]:
        """Refuses places that are not there."""
        yield from check_places(context, "group_lasso", self.params)

    def penalty(self, step: Step, weights: Tensors, outputs: Outputs) -> Tensor | None:
        """The penalty, a scalar."""
        chosen = chosen_weights(step, weights, self.params)
        return total(step.settings["strength"], chosen, lambda weight: group_lasso(weight, self.params.groups))
