"""The generalized cross entropy.

Shape letters: B rows of the batch, K classes.
"""

from __future__ import annotations

from collections.abc import Iterator
from typing import final

import torch
from torch import Tensor

from regplug.regularizer import Notice, Outputs, RegularizerFunctions, RunContext, Step
from regplug_regularizers.targets.by_class import by_class, require_cross_entropy


def generalized_terms(log_p: Tensor, q: Tensor) -> Tensor:
    """Returns `(1 - p^q) / q` of each class, which tends to `-log(p)` as q goes to 0 and is `1 - p` at 1.

    Args:
        log_p: Log-probabilities `(B, K)`.
        q: Scalar in [0, 1].
    """
    is_zero = q == 0
    return torch.where(is_zero, -log_p, -torch.expm1(q * log_p) / torch.where(is_zero, 1.0, q))


@final
class GeneralizedCrossEntropy(RegularizerFunctions):
    """Puts `(1 - p^q) / q` in the place of a row's cross entropy, so that wrong labels pull less.

    At soft targets t it is `sum_k t_k * (1 - p_k^q) / q`. Source: Zhang and Sabuncu 2018, equation 6.
    """

    def check(self, context: RunContext) -> Iterator[Notice]:
        """Refuses another loss than cross entropy."""
        yield from require_cross_entropy("generalized_cross_entropy", context)

    def sample_losses(self, step: Step, losses: Tensor, outputs: Outputs) -> Tensor:
        """Each row's loss with the generalized cross entropy in place of its cross entropy."""
        log_p = outputs.logits.log_softmax(1)
        return losses + by_class(step.require_batch().y, generalized_terms(log_p, step.settings["q"]) + log_p)
