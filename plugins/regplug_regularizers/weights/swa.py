"""Stochastic weight averaging."""

from __future__ import annotations

from collections.abc import Iterable
from typing import final

import torch
from torch import Tensor

from regplug.regularizer import EpochEnd, Member, RegularizerFunctions, Shapes, Step, Tensors


@final
class Swa(RegularizerFunctions):
    """Averages the weights at the end of each epoch after `start`, and ends with the average.

    In training nothing changes; evaluations see the average as soon as there is one, and the end recomputes the running
    statistics of batch normalizations for it. Source: Izmailov et al. 2018.
    """

    def init(self, shapes: Shapes, params: Tensors, buffers: Tensors) -> dict[str, Tensor]:
        """No average yet."""
        first = next(iter(params.values()))
        averages = {f"average.{name}": torch.zeros_like(param) for name, param in params.items()}
        return {"count": first.new_zeros(()), **averages}

    def after_epoch(self, step: Step, metrics: Tensors, params: Tensors, buffers: Tensors) -> EpochEnd:
        """Takes this epoch's weights in: `average += (w - average) / count`."""
        state = step.state
        takes = (step.clock.epoch > step.settings["start"] * step.clock.epochs).to(state["count"].dtype)
        count = state["count"] + takes
        share = takes / count.clamp(min=1)
        averages = {
            f"average.{name}": state[f"average.{name}"] + share * (param - state[f"average.{name}"])
            for name, param in params.items()
        }
        return EpochEnd(params, buffers, {"count": count, **averages})

    def evaluated(self, step: Step, params: Tensors, buffers: Tensors) -> Member:
        """The average, with statistics of its own, or the weights before there is one."""
        has_average = step.state["count"] > 0
        averages = self._average(step, params)
        fresh = step.recompute_statistics(averages, buffers)
        return averages, {n: torch.where(has_average, fresh[n], value) for n, value in buffers.items()}

    def finalize(self, step: Step, params: Tensors, buffers: Tensors, batches: Iterable[Step]) -> Member:
        """The average, with statistics of its own."""
        if not step.state["count"]:
            return params, buffers
        averages = self._average(step, params)
        return averages, step.recompute_statistics(averages, buffers, batches)

    def _average(self, step: Step, params: Tensors) -> dict[str, Tensor]:
        has_average = step.state["count"] > 0
        return {n: torch.where(has_average, step.state[f"average.{n}"], param) for n, param in params.items()}
