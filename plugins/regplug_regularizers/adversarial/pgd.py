"""Adversarial training by projected gradient descent."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, final

import torch
from torch import Tensor

from regplug.noise import Draw, uniform
from regplug.regularizer import Loss, Outputs, RegularizerFunctions, Shapes, Step, Tensors
from regplug_regularizers.adversarial.limits import kept_within, limits_of


@final
class PGD(RegularizerFunctions):
    """Trains on the worst input that some steps find within radius of each entry, and on it alone.

    From a random start, `x' = clip(x' + step_share * radius * sign(dJ/dx'))`, clipped to `x +- radius` and to the range
    that the dataset declares. Source: Madry et al. 2018, section 2.1.
    """

    def noise(self, shapes: Shapes, settings: Mapping[str, Any]) -> Mapping[str, Draw]:
        """Where each input starts."""
        return {"start": uniform(shapes.x)}

    def init(self, shapes: Shapes, params: Tensors, buffers: Tensors) -> dict[str, Tensor]:
        """The range of the inputs."""
        return limits_of(shapes, params)

    def wrap_loss(self, step: Step, loss: Loss) -> Loss:
        """The loss on the moved inputs."""

        def wrapped(params: Tensors, number: int = 0, **given: Any) -> tuple[Tensor, Outputs]:
            x, radius = given.pop("x", step.require_batch().x), step.settings["radius"]
            moved = kept_within(x + radius * (2 * step.noise["start"] - 1), x, step.state)
            for _ in range(self.params.steps):
                gradient = step.gradient(lambda x: loss(params, number, x=x, **given)[0], moved)
                further = moved + step.settings["step_share"] * radius * gradient.sign()
                moved = kept_within(torch.clamp(further, x - radius, x + radius), x, step.state).detach()
            return loss(params, number, x=moved, **given)

        return wrapped
