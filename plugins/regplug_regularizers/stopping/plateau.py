"""A lower learning rate where the validation loss stays where it is."""

from __future__ import annotations

from collections.abc import Iterator
from typing import final

import torch
from torch import Tensor

from regplug.regularizer import EpochEnd, Notice, RegularizerFunctions, RunContext, Shapes, Step, Tensors


@final
class Plateau(RegularizerFunctions):
    """Multiplies the learning rate with `factor` after more than `patience` epochs without a better validation loss.

    Better is below `best * (1 - threshold)`. After a cut, `cooldown` epochs do not count. The rate stays above `lowest`
    times the rate at the start.

    Source: torch.optim.lr_scheduler.ReduceLROnPlateau, in mode `min` with a relative threshold.
    """

    def check(self, context: RunContext) -> Iterator[Notice]:
        """Refuses to watch a validation split that there is not."""
        if not context.has_validation:
            yield Notice(
                "refuse",
                "plateau needs a validation split, and the dataset has none.",
                "Give the dataset one, for example mnist:validation=5000. The test split is never used to choose.",
            )

    def init(self, shapes: Shapes, params: Tensors, buffers: Tensors) -> dict[str, Tensor]:
        """Nothing seen yet."""
        like = next(iter(params.values()))
        zero = like.new_zeros(())
        return {"best": zero + torch.inf, "bad": zero, "cooling": zero.clone(), "scale": zero + 1}

    def after_epoch(self, step: Step, metrics: Tensors, params: Tensors, buffers: Tensors) -> EpochEnd:
        """Compares, counts, and cuts where patience is at its end."""
        state, settings, loss = step.state, step.settings, metrics["valid/loss"]
        is_better = loss < state["best"] * (1 - settings["threshold"])
        is_cooling = state["cooling"] > 0
        bad = torch.where(is_better | is_cooling, 0.0, state["bad"] + 1)
        cooling = torch.where(is_cooling, state["cooling"] - 1, state["cooling"])
        cuts = bad > settings["patience"]
        scale = torch.where(
            cuts, torch.maximum(state["scale"] * settings["factor"], settings["lowest"]), state["scale"]
        )
        new = {
            "best": torch.where(is_better, loss, state["best"]),
            "bad": torch.where(cuts, 0.0, bad),
            "cooling": torch.where(cuts, settings["cooldown"].to(cooling.dtype), cooling),
            "scale": scale,
        }
        return EpochEnd(params, buffers, new, rate_scale=scale / state["scale"])
