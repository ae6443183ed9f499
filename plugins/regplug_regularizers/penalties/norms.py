"""Penalties on the size of the weights."""

from __future__ import annotations

from collections.abc import Iterator
from typing import final

from torch import Tensor

from regplug.regularizer import Notice, Outputs, RegularizerFunctions, RunContext, Step, Tensors
from regplug_regularizers.penalties.places import check_places, chosen_weights, total


@final
class L1(RegularizerFunctions):
    """Adds `strength * sum |w|` to the loss; its gradient at 0 is 0. Source: Tibshirani 1996."""

    def check(self, context: RunContext) -> Iterator[Notice]:
        """Refuses places that are not there."""
        yield from check_places(context, "l1", self.params)

    def penalty(self, step: Step, weights: Tensors, outputs: Outputs) -> Tensor | None:
        """The penalty, a scalar."""
        chosen = chosen_weights(step, weights, self.params)
        return total(step.settings["strength"], chosen, lambda weight: weight.abs().sum())


@final
class L2(RegularizerFunctions):
    """Adds `strength / 2 * sum w^2` to the loss: the gradient gains `strength * w`. Source: Hoerl and Kennard 1970."""

    def check(self, context: RunContext) -> Iterator[Notice]:
        """Doubts a second decay of the same weights; refuses places that are not there."""
        yield from check_places(context, "l2", self.params)
        if context.others("decoupled-decay"):
            yield Notice(
                "warn",
                "l2 and a decoupled weight decay both shrink the weights, and are not the same method: under an "
                "adaptive optimizer l2 is divided by the gradient's size.",
                "Keep one of the two.",
            )

    def penalty(self, step: Step, weights: Tensors, outputs: Outputs) -> Tensor | None:
        """The penalty, a scalar."""
        chosen = chosen_weights(step, weights, self.params)
        return total(step.settings["strength"], chosen, lambda weight: 0.5 * weight.square().sum())
