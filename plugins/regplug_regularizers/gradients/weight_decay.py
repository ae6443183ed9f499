"""Decoupled weight decay."""

from __future__ import annotations

from collections.abc import Iterator
from typing import final

from torch import Tensor

from regplug.regularizer import Notice, RegularizerFunctions, RunContext, Step


@final
class WeightDecay(RegularizerFunctions):
    """Multiplies each weight with `1 - rate * strength` before the optimizer's update, as torch's AdamW.

    It is not in the loss, so an adaptive optimizer does not rescale it. Source: Loshchilov and Hutter 2019.
    """

    def check(self, context: RunContext) -> Iterator[Notice]:
        """Doubts a second decoupled decay of the same weights."""
        if context.others("decoupled-decay"):
            yield Notice("warn", "Two decoupled decays add up on the same weights.", "Keep one of the two.")

    def decay(self, step: Step, name: str, weight: Tensor) -> Tensor | None:
        """The strength, for weights; biases and normalization parameters only where asked."""
        is_weight = step.clock.roles.get(name, "weight") == "weight"
        strength: Tensor = step.settings["strength"]
        return strength if is_weight or self.params.everything else None
