"""Double backpropagation."""

from __future__ import annotations

from typing import Any, final

from torch import Tensor

from regplug.regularizer import Loss, Outputs, RegularizerFunctions, Step, Tensors


@final
class GradientPenalty(RegularizerFunctions):
    """Adds `strength * mean_B |d loss_b / d x_b|^2`: the squared gradient of each row's loss by its inputs.

    Source: Drucker and Le Cun 1992, double backpropagation.
    """

    def wrap_loss(self, step: Step, loss: Loss) -> Loss:
        """The loss with the penalty; a second pass, in which batch statistics do not count, gives the gradient."""

        def wrapped(params: Tensors, number: int = 0, **given: Any) -> tuple[Tensor, Outputs]:
            x = given.pop("x", step.require_batch().x)
            value, outputs = loss(params, number, x=x, **given)
            # The loss is a mean over rows: each row's own gradient is B times as large.
            gradient = len(x) * step.gradient(lambda moved: loss(params, number, x=moved, **given)[0], x)
            return value + step.settings["strength"] * gradient.square().flatten(1).sum(1).mean(), outputs

        return wrapped
