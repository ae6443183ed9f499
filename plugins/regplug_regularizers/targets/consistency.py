"""What methods share that hold the outputs to those of a teacher.

Shape letters: B rows of the batch, K outputs.
"""

from __future__ import annotations

import math

from torch import Tensor

from regplug.api import Task


def ramp_up(share: float, length: float) -> float:
    """Returns `exp(-5 * (1 - T)^2)` with `T = share / length`, and 1 once T is 1.

    Args:
        share: What has passed of the run, in [0, 1].
        length: Share of the run over which the weight rises.

    Source: Laine and Aila 2017, section 3.2.
    """
    return math.exp(-5 * (1 - min(share / length, 1.0)) ** 2)


def answers(logits: Tensor, task: Task) -> Tensor:
    """Returns the probabilities of classes or labels, and the values of a regression, `(B, K)`."""
    if task.is_multilabel:
        return logits.sigmoid()
    return logits.softmax(1) if task.is_classification else logits


def squared_distance(outputs: Tensor, targets: Tensor) -> Tensor:
    """Returns the mean over rows and columns of the squared difference, a scalar."""
    return (outputs - targets).square().mean()
