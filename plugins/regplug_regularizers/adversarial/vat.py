"""Virtual adversarial training.

Shape letters: B rows of the batch, K classes.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, final

import torch
from torch import Tensor

from regplug.noise import Draw, normal
from regplug.regularizer import Loss, Outputs, RegularizerFunctions, Shapes, Step, Tensors
from regplug_regularizers.adversarial.limits import kept_within, limits_of, normalized_by_row

FINITE_STEP = 1e-3
"""Length of the change at which the power iteration takes its gradient: xi in the paper."""


@final
class VAT(RegularizerFunctions):
    """Adds `strength * KL(p(x) || p(x + r))`, r the change of length radius that moves the outputs most.

    Power iteration finds r: `d = normalize(gradient of KL(p(x) || p(x + xi * d)) by the change)`, from a random d. No
    label is needed for it. x + r stays in the range that the dataset declares. Source: Miyato et al. 2018, equations 5
    to 12.
    """

    def noise(self, shapes: Shapes, settings: Mapping[str, Any]) -> Mapping[str, Draw]:
        """The direction from which the search starts."""
        return {"direction": normal(shapes.x)}

    def init(self, shapes: Shapes, params: Tensors, buffers: Tensors) -> dict[str, Tensor]:
        """The range of the inputs."""
        return limits_of(shapes, params)

    def wrap_loss(self, step: Step, loss: Loss) -> Loss:
        """The loss and the divergence."""

        def wrapped(params: Tensors, number: int = 0, **given: Any) -> tuple[Tensor, Outputs]:
            value, outputs = loss(params, number, **given)
            x, buffers = given.get("x", step.require_batch().x), given.get("buffers")
            clean = outputs.logits.detach().log_softmax(1)

            def divergence(moved: Tensor) -> Tensor:
                log_q = step.run(x=moved, params=params, buffers=buffers, number=number).logits.log_softmax(1)
                return (clean.exp() * (clean - log_q)).sum(1).mean()

            radius = step.settings["radius"]
            worst = kept_within(x + radius * self._direction(step, x, divergence), x, step.state).detach()
            # Rounding leaves a trace of the divergence from the outputs to themselves.
            added = torch.where(radius > 0, divergence(worst), 0.0)
            return value + step.settings["strength"] * added, outputs

        return wrapped

    def _direction(self, step: Step, x: Tensor, divergence: Any) -> Tensor:
        """The direction `(B, ...)` that moves the outputs most, each row of length 1."""
        direction = normalized_by_row(step.noise["direction"])
        for _ in range(self.params.iterations):
            gradient = step.gradient(lambda change: divergence(x + change), FINITE_STEP * direction)
            direction = normalized_by_row(gradient).detach()
        return direction
