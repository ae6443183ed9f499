"""The focal loss.

Shape letters: B rows of the batch, K classes.
"""

from __future__ import annotations

from collections.abc import Iterator
from typing import final

import torch
from torch import Tensor

from regplug.regularizer import Notice, Outputs, RegularizerFunctions, RunContext, Step
from regplug_regularizers.targets.by_class import by_class, require_cross_entropy


def focal_terms(log_p: Tensor, gamma: Tensor) -> Tensor:
    """Returns `-(1 - p)^gamma * log(p)` of each class; `gamma` 0 gives the cross entropy.

    Args:
        log_p: Log-probabilities `(B, K)`.
        gamma: Scalar, at least 0.
    """
    # The power of 0 has no finite slope below gamma 1.
    wrong = (-torch.expm1(log_p)).clamp(min=torch.finfo(log_p.dtype).tiny)
    return -(wrong**gamma) * log_p


@final
class Focal(RegularizerFunctions):
    """Weighs the cross entropy of a row down where its class is found already: `-(1 - p)^gamma * log(p)`.

    At soft targets t it is `sum_k t_k * -(1 - p_k)^gamma * log(p_k)`. Source: Lin et al. 2017, equation 4.
    """

    def check(self, context: RunContext) -> Iterator[Notice]:
        """Refuses another loss than cross entropy."""
        yield from require_cross_entropy("focal", context)

    def sample_losses(self, step: Step, losses: Tensor, outputs: Outputs) -> Tensor:
        """Each row's loss with the focal loss in place of its cross entropy."""
        log_p = outputs.logits.log_softmax(1)
        return losses + by_class(step.require_batch().y, focal_terms(log_p, step.settings["gamma"]) + log_p)
