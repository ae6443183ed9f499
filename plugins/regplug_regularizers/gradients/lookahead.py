"""Lookahead."""

from __future__ import annotations

from collections.abc import Iterable
from typing import final

import torch
from torch import Tensor

from regplug.regularizer import Member, RegularizerFunctions, Shapes, Step, Tensors


@final
class Lookahead(RegularizerFunctions):
    """Every k steps goes back from the weights to slow ones that follow: `slow = slow + alpha * (w - slow); w = slow`.

    What is evaluated, and what the run ends with, are the slow weights. The optimizer's momentum goes on unchanged.
    Source: Zhang et al. 2019, algorithm 1.
    """

    def init(self, shapes: Shapes, params: Tensors, buffers: Tensors) -> dict[str, Tensor]:
        """The slow weights."""
        return {name: value.detach().clone() for name, value in params.items()}

    def after_step(self, step: Step, params: Tensors) -> tuple[Tensors, Tensors]:
        """The slow weights, every k steps; the weights as they are at the others."""
        if (step.clock.index + 1) % self.params.steps:
            return params, step.state
        alpha = step.settings["alpha"]
        slow = {name: torch.lerp(step.state[name], value, alpha.to(value.dtype)) for name, value in params.items()}
        return slow, slow

    def evaluated(self, step: Step, params: Tensors, buffers: Tensors) -> Member:
        """The slow weights, with running statistics of their own."""
        return step.state, step.recompute_statistics(step.state, buffers)

    def finalize(self, step: Step, params: Tensors, buffers: Tensors, batches: Iterable[Step]) -> Member:
        """The slow weights, with running statistics over all batches."""
        return step.state, step.recompute_statistics(step.state, buffers, batches)
