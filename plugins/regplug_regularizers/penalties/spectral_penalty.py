"""A penalty on the largest singular values."""

from __future__ import annotations

from collections.abc import Iterator
from typing import final

import torch
from torch import Tensor

from regplug.regularizer import Notice, Outputs, RegularizerFunctions, RunContext, Step, Tensors
from regplug_regularizers.penalties.places import check_places, chosen_weights, total


def half_squared_norm(weight: Tensor) -> Tensor:
    """Returns `sigma(W)^2 / 2`, a scalar, where sigma is the largest singular value.

    The paper follows it by power iteration; here it is exact.

    Args:
        weight: `(units, inputs, ...)`; W is `(units, all others)`.

    Source: Yoshida and Miyato 2017, equation 2.
    """
    sigma: Tensor = torch.linalg.matrix_norm(weight.flatten(1), ord=2)
    return sigma.square() / 2


@final
class SpectralPenalty(RegularizerFunctions):
    """Adds `strength / 2 * sum sigma(W)^2` to the loss."""

    def check(self, context: RunContext) -> Iterator[Notice]:
        """Refuses places that are not there."""
        yield from check_places(context, "spectral_penalty", self.params)

    def penalty(self, step: Step, weights: Tensors, outputs: Outputs) -> Tensor | None:
        """The penalty, a scalar."""
        return total(step.settings["strength"], chosen_weights(step, weights, self.params), half_squared_norm)
