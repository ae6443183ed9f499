"""Penalties on the weights."""

from __future__ import annotations

from collections.abc import Iterator
from typing import final

from torch import Tensor

from regplug.regularizer import Notice, Outputs, RegularizerFunctions, RunContext, Step, Tensors


@final
class L1(RegularizerFunctions):
    """Adds `strength * sum |w|` to the loss; its gradient at 0 is 0. Source: Tibshirani 1996."""

    def penalty(self, step: Step, weights: Tensors, outputs: Outputs) -> Tensor | None:
        """The penalty, a scalar."""
        chosen = step.select(weights, everything=self.params.everything)
        strength: Tensor = step.settings["strength"]
        return strength * sum(weight.abs().sum() for weight in chosen.values())


@final
class L2(RegularizerFunctions):
    """Adds `strength / 2 * sum w^2` to the loss: the gradient gains `strength * w`. Source: Hoerl and Kennard 1970."""

    def check(self, context: RunContext) -> Iterator[Notice]:
        """Doubts a second decay of the same weights."""
        if context.others("decoupled-decay"):
            yield Notice(
                "warn",
                "l2 and a decoupled weight decay both shrink the weights, and are not the same method: under an "
                "adaptive optimizer l2 is divided by the gradient's size.",
                "Keep one of the two.",
            )

    def penalty(self, step: Step, weights: Tensors, outputs: Outputs) -> Tensor | None:
        """The penalty, a scalar."""
        chosen = step.select(weights, everything=self.params.everything)
        strength: Tensor = step.settings["strength"]
        return strength * 0.5 * sum(weight.square().sum() for weight in chosen.values())
