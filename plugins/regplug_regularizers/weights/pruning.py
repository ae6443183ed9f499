"""Magnitude pruning on a schedule."""

from __future__ import annotations

from collections.abc import Iterator
from typing import final

import torch
from torch import Tensor

from regplug.regularizer import Notice, RegularizerFunctions, RunContext, Shapes, Step, Tensors


def magnitude_mask(weight: Tensor, share: Tensor) -> Tensor:
    """0 for the smallest `share` of the entries by absolute value, else 1; of equal ones the first are pruned.

    Args:
        weight: Any shape.
        share: Scalar in [0, 1].

    Returns:
        A tensor of the shape and dtype of `weight`.
    """
    rank = weight.abs().flatten().argsort(stable=True).argsort().view_as(weight)
    return (rank >= (share * weight.numel()).round()).to(weight.dtype)


@final
class Pruning(RegularizerFunctions):
    """Sets the smallest entries of each weight to zero, more and more of them, up to `sparsity`.

    The share at step t is `sparsity * (1 - (1 - (t - t0) / (t1 - t0))^3)` from step t0 to step t1; masks are made anew
    every so many steps and stay after t1. Each weight is pruned by itself; biases and normalization parameters stay.

    Source: Zhu and Gupta 2017, equation 1, with an initial sparsity of 0.
    """

    def check(self, context: RunContext) -> Iterator[Notice]:
        """Refuses a schedule that ends before it starts."""
        if self.params.end <= self.params.start:
            yield Notice(
                "refuse",
                f"pruning ends at {self.params.end:g} of the run and starts at {self.params.start:g}.",
                "Choose an end after the start.",
            )

    def init(self, shapes: Shapes, params: Tensors, buffers: Tensors) -> dict[str, Tensor]:
        """Masks that keep everything."""
        like = next(iter(params.values()))
        return {name: like.new_ones(shape) for name, shape in shapes.weights.items()}

    def after_step(self, step: Step, params: Tensors) -> tuple[Tensors, Tensors]:
        """Makes the masks anew where they are due."""
        progress = self._progress(step.clock.index + 1, step.clock.count)
        if progress is None:
            return params, step.state
        share = step.settings["sparsity"] * (1 - (1 - progress) ** 3)
        weights = step.select(step.weights(params))
        masks = {name: magnitude_mask(weight, share) for name, weight in weights.items()}
        return params, {**step.state, **masks}

    def project(self, step: Step, name: str, weight: Tensor) -> Tensor:
        """Keeps the pruned entries at zero."""
        if step.clock.roles.get(name, "weight") != "weight":
            return weight
        return torch.where(step.state[name] == 0, torch.zeros_like(weight), weight)

    def _progress(self, done: int, count: int) -> float | None:
        """How far the schedule is after so many steps, in [0, 1]; `None` where no mask is due."""
        first, last = self.params.start * count, int(self.params.end * count)
        is_due = done == last or (first <= done < last and (done - int(first)) % self.params.every == 0)
        return min(1.0, (done - first) / max(last - first, 1)) if is_due else None
