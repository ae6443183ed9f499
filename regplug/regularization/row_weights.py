"""The weights of the training rows, as the last member of a composition."""

from __future__ import annotations

from torch import Tensor

from regplug.regularizer import Outputs, RegularizerFunctions, Step

KEY = "row weights"
"""Its key in a composition; no alias can be spelled so."""


class RowWeights(RegularizerFunctions):
    """Multiplies the loss of each row with the row's weight; it is no regularizer of its own.

    Args:
        weights: Of each training row, of mean 1, `(rows,)`.
    """

    def __init__(self, weights: Tensor) -> None:
        super().__init__()
        self._weights = weights

    def sample_losses(self, step: Step, losses: Tensor, outputs: Outputs) -> Tensor:
        """Returns `weight * loss` of each row."""
        return losses * self._weights[step.require_batch().rows]
