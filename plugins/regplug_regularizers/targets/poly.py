"""PolyLoss.

Shape letters: B rows of the batch, K classes.
"""

from __future__ import annotations

from collections.abc import Iterator
from typing import final

from torch import Tensor

from regplug.regularizer import Notice, Outputs, RegularizerFunctions, RunContext, Step
from regplug_regularizers.targets.by_class import by_class, require_cross_entropy


@final
class Poly(RegularizerFunctions):
    """Adds `epsilon * (1 - p)` to each row's cross entropy, p the probability of its class: Poly-1.

    It changes the first term of the expansion `-log(p) = sum_j (1 - p)^j / j`. At soft targets t it adds
    `epsilon * sum_k t_k * (1 - p_k)`. Source: Leng et al. 2022, equation 5.
    """

    def check(self, context: RunContext) -> Iterator[Notice]:
        """Refuses another loss than cross entropy."""
        yield from require_cross_entropy("poly", context)

    def sample_losses(self, step: Step, losses: Tensor, outputs: Outputs) -> Tensor:
        """Each row's loss and the changed term."""
        wrong = 1 - outputs.logits.softmax(1)
        epsilon: Tensor = step.settings["epsilon"]
        return losses + epsilon * by_class(step.require_batch().y, wrong)
