"""The first-party losses. The loss of a row with several columns is the mean over its columns.

Where torch has a fused function for the mean, `mean` calls it: the same number from fewer operations.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import final

import torch
import torch.nn.functional as F
from torch import Tensor

from regplug.losses import LossFunction


@final
class CrossEntropy(LossFunction):
    """`-log softmax(logits)[class]`, or the sum of `-p * log softmax(logits)` over class probabilities p."""

    def per_sample(self, outputs: Tensor, targets: Tensor, settings: Mapping[str, Tensor]) -> Tensor:
        """The loss of each row."""
        return F.cross_entropy(outputs, targets, reduction="none")

    def mean(self, outputs: Tensor, targets: Tensor, settings: Mapping[str, Tensor]) -> Tensor:
        """The mean over the batch."""
        return F.cross_entropy(outputs, targets)


@final
class BinaryCrossEntropy(LossFunction):
    """`-t * log sigmoid(z) - (1 - t) * log sigmoid(-z)`; a target t may also be a probability."""

    def per_sample(self, outputs: Tensor, targets: Tensor, settings: Mapping[str, Tensor]) -> Tensor:
        """The loss of each row."""
        return _over_columns(F.binary_cross_entropy_with_logits(outputs, targets, reduction="none"))

    def mean(self, outputs: Tensor, targets: Tensor, settings: Mapping[str, Tensor]) -> Tensor:
        """The mean over the batch."""
        return F.binary_cross_entropy_with_logits(outputs, targets)


@final
class SquaredError(LossFunction):
    """`(y - t)^2`."""

    def per_sample(self, outputs: Tensor, targets: Tensor, settings: Mapping[str, Tensor]) -> Tensor:
        """The loss of each row."""
        return _over_columns((outputs - targets).square())

    def mean(self, outputs: Tensor, targets: Tensor, settings: Mapping[str, Tensor]) -> Tensor:
        """The mean over the batch."""
        return F.mse_loss(outputs, targets)


@final
class HalfSquaredError(LossFunction):
    """`(y - t)^2 / 2`, whose gradient is `y - t`. Source: Dive into Deep Learning 3.1."""

    def per_sample(self, outputs: Tensor, targets: Tensor, settings: Mapping[str, Tensor]) -> Tensor:
        """The loss of each row."""
        return _over_columns((outputs - targets).square()) / 2

    def mean(self, outputs: Tensor, targets: Tensor, settings: Mapping[str, Tensor]) -> Tensor:
        """The mean over the batch."""
        return F.mse_loss(outputs, targets) / 2


@final
class Huber(LossFunction):
    """`e^2 / 2` for `|e| <= delta`, else `delta * (|e| - delta / 2)`, with `e = y - t`.

    As torch.nn.HuberLoss; torch.nn.SmoothL1Loss is this divided by delta. Source: Huber 1964.
    """

    def per_sample(self, outputs: Tensor, targets: Tensor, settings: Mapping[str, Tensor]) -> Tensor:
        """The loss of each row."""
        size = (outputs - targets).abs()
        # Both cases at once: with c = min(|e|, delta) the loss is c * (|e| - c / 2).
        within = torch.minimum(size, settings["delta"])
        return _over_columns(within * (size - within / 2))


@final
class AbsoluteError(LossFunction):
    """`|y - t|`; its gradient at 0 is 0."""

    def per_sample(self, outputs: Tensor, targets: Tensor, settings: Mapping[str, Tensor]) -> Tensor:
        """The loss of each row."""
        return _over_columns((outputs - targets).abs())

    def mean(self, outputs: Tensor, targets: Tensor, settings: Mapping[str, Tensor]) -> Tensor:
        """The mean over the batch."""
        return F.l1_loss(outputs, targets)


def _over_columns(errors: Tensor) -> Tensor:
    return errors.flatten(1).mean(dim=1)
