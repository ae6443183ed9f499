"""Adversarial training by the fast gradient sign method."""

from __future__ import annotations

from typing import Any, final

from torch import Tensor

from regplug.regularizer import Loss, Outputs, RegularizerFunctions, Shapes, Step, Tensors
from regplug_regularizers.adversarial.limits import kept_within, limits_of


@final
class FGSM(RegularizerFunctions):
    """Trains on `c * J(x) + (1 - c) * J(x + radius * sign(dJ/dx))`, J the data loss and c the clean share.

    The moved input stays in the range that the dataset declares. Source: Goodfellow et al. 2015, section 6.
    """

    def init(self, shapes: Shapes, params: Tensors, buffers: Tensors) -> dict[str, Tensor]:
        """The range of the inputs."""
        return limits_of(shapes, params)

    def wrap_loss(self, step: Step, loss: Loss) -> Loss:
        """The loss on clean and on moved inputs."""

        def wrapped(params: Tensors, number: int = 0, **given: Any) -> tuple[Tensor, Outputs]:
            x, share = given.pop("x", step.require_batch().x), step.settings["clean_share"]
            gradient = step.gradient(lambda x: loss(params, number, x=x, **given)[0], x)
            moved = kept_within(x + step.settings["radius"] * gradient.sign().detach(), x, step.state)
            clean, outputs = loss(params, number, x=x, **given)
            return share * clean + (1 - share) * loss(params, number, x=moved, **given)[0], outputs

        return wrapped
