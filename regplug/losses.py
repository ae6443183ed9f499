"""The base class of losses."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from torch import Tensor

SETTINGS_KEY = "/loss"
"""Key of the loss's settings among those of the regularizers, whose keys have no slash."""


class LossFunction:
    """A data loss of one run: pure functions that the host lifts over the runs of a stack.

    >>> class Squared(LossFunction):
    ...     def per_sample(self, outputs, targets, settings):
    ...         return (outputs - targets).square().mean(dim=1)

    Args:
        params: An instance of the descriptor's parameter dataclass. Read numbers marked `Stackable` from `settings`
            instead.
    """

    def __init__(self, params: Any = None) -> None:
        self.params = params

    def per_sample(self, outputs: Tensor, targets: Tensor, settings: Mapping[str, Tensor]) -> Tensor:
        """Returns the loss of each row, `(batch,)`. A row's loss depends only on that row.

        Args:
            outputs: Logits or values `(batch, K)`.
            targets: Classes `(batch,)` int64; class probabilities `(batch, K)` if the descriptor has
                `soft_targets=True`; or a regression's values `(batch, K)`.
            settings: The numbers marked `Stackable`, as scalar tensors.
        """
        raise NotImplementedError

    def mean(self, outputs: Tensor, targets: Tensor, settings: Mapping[str, Tensor]) -> Tensor:
        """Returns the mean of `per_sample` over the batch, a scalar. Override it only to compute the same faster."""
        return self.per_sample(outputs, targets, settings).mean()


__all__ = ["SETTINGS_KEY", "LossFunction"]
