"""A penalty on confident outputs."""

from __future__ import annotations

import math
from typing import final

from torch import Tensor

from regplug.regularizer import Outputs, RegularizerFunctions, Step, Tensors


def confidence(logits_BK: Tensor) -> Tensor:
    """Returns the mean over rows of `log K - H(p)`, a scalar: 0 for equal probabilities, log K for certainty.

    The paper subtracts the entropy H alone: the constant log K moves no gradient and keeps the penalty above 0.

    Source: Pereyra et al. 2017, section 3.
    """
    log_p_BK = logits_BK.log_softmax(1)
    return math.log(logits_BK.shape[1]) + (log_p_BK.exp() * log_p_BK).sum(1).mean()


@final
class ConfidencePenalty(RegularizerFunctions):
    """Adds `strength` times `confidence` of the logits to the loss."""

    def penalty(self, step: Step, weights: Tensors, outputs: Outputs) -> Tensor | None:
        """The penalty, a scalar."""
        strength: Tensor = step.settings["strength"]
        return strength * confidence(outputs.logits)
