"""R-Drop.

Shape letters: B rows of the batch, K classes.
"""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any, final

from torch import Tensor

from regplug.regularizer import Loss, Notice, Outputs, RegularizerFunctions, RunContext, Step, Tensors


def symmetric_divergence(logits: Tensor, others: Tensor) -> Tensor:
    """Returns the mean over rows of `(KL(p || q) + KL(q || p)) / 2`, a scalar.

    Args:
        logits: Of p, `(B, K)`.
        others: Of q, `(B, K)`.
    """
    log_p, log_q = logits.log_softmax(1), others.log_softmax(1)
    return ((log_p.exp() - log_q.exp()) * (log_p - log_q)).sum(1).mean() / 2


@final
class RDrop(RegularizerFunctions):
    """Takes two passes with masks of their own, and adds strength times the divergence of their outputs.

    The data loss is the mean of the two, as in the authors' code; their paper writes the sum.
    Source: Wu et al. 2021, equations 2 and 3.
    """

    passes = 2

    def check(self, context: RunContext) -> Iterator[Notice]:
        """Refuses two passes that nothing makes different."""
        if not context.has_layer_noise:
            yield Notice(
                "refuse",
                "r_drop compares two passes with different masks, but no layer of the model draws any: the passes "
                "are equal.",
                "Add --reg dropout, or choose a model with dropout.",
            )

    def wrap_loss(self, step: Step, loss: Loss) -> Loss:
        """The mean of two passes' losses, and their divergence."""

        def wrapped(params: Tensors, number: int = 0, **given: Any) -> tuple[Tensor, Outputs]:
            first, one = loss(params, number, **given)
            second, two = loss(params, number + 1, **{**given, "buffers": one.buffers})
            divergence = symmetric_divergence(one.logits, two.logits)
            return (first + second) / 2 + step.settings["strength"] * divergence, two

        return wrapped
