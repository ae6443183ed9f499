"""Stochastic weight averaging."""

from __future__ import annotations

from collections.abc import Iterable
from typing import Any, final

import torch
from torch import Tensor

from regplug.regularizer import EpochEnd, FinishForward, RegularizerFunctions, Step, Tensors


@final
class Swa(RegularizerFunctions):
    """Averages the weights at the end of each epoch after `start`, and ends with the average.

    In training nothing changes; evaluations see the average as soon as there is one, and the end recomputes the running
    statistics of batch normalizations for it. Source: Izmailov et al. 2018.
    """

    def init(self, params: Tensors, buffers: Tensors) -> dict[str, Tensor]:
        """No average yet."""
        first = next(iter(params.values()))
        averages = {f"average.{name}": torch.zeros_like(param) for name, param in params.items()}
        return {"count": first.new_zeros(()), **averages}

    def after_epoch(self, step: Step, metrics: Tensors, params: Tensors, buffers: Tensors, state: Tensors) -> EpochEnd:
        """Takes this epoch's weights in: `average += (w - average) / count`."""
        takes = (step.clock.epoch > step.settings["start"] * step.clock.epochs).to(state["count"].dtype)
        count = state["count"] + takes
        share = takes / count.clamp(min=1)
        averages = {
            f"average.{name}": state[f"average.{name}"] + share * (param - state[f"average.{name}"])
            for name, param in params.items()
        }
        return EpochEnd(params, buffers, {"count": count, **averages})

    def evaluated(self, params: Tensors, buffers: Tensors, state: Tensors) -> tuple[Tensors, Tensors]:
        """The average, or the weights before there is one."""
        has_average = state["count"] > 0
        averages = {n: torch.where(has_average, state[f"average.{n}"], param) for n, param in params.items()}
        return averages, buffers

    def finalize(
        self, forward: FinishForward, params: Tensors, buffers: Tensors, state: Tensors, batches: Iterable[Any]
    ) -> tuple[Tensors, Tensors]:
        """The average, with statistics of its own."""
        if not state["count"]:
            return params, buffers
        averages, _ = self.evaluated(params, buffers, state)
        return averages, forward.recompute_statistics(averages, buffers, batches)
