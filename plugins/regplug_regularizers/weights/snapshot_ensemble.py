"""Snapshot ensembles: one run ends with the networks at the lows of its learning rate."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence
from math import cos, pi
from typing import final

from torch import Tensor

from regplug.regularizer import (
    EpochEnd,
    Member,
    Notice,
    RegularizerFunctions,
    RunContext,
    Shapes,
    Step,
    Tensors,
)


def cosine(lowest: Tensor, share: float) -> Tensor:
    """`lowest + (1 - lowest) * (1 + cos(pi * share)) / 2`: 1 at the start of a cycle, `lowest` at its end."""
    return lowest + (1 - lowest) * (1 + cos(pi * share)) / 2


@final
class SnapshotEnsemble(RegularizerFunctions):
    """Lowers the learning rate along a cosine in several cycles, and ends with the networks at the end of each cycle.

    The rate changes from epoch to epoch; the paper changes it at each step. The networks answer as one: the mean of
    their probabilities, or of their values.

    Source: Huang et al. 2017, Snapshot Ensembles: Train 1, Get M for Free.
    """

    def check(self, context: RunContext) -> Iterator[Notice]:
        """Refuses more cycles than epochs."""
        if context.epochs < self.params.cycles:
            yield Notice(
                "refuse",
                f"snapshot_ensemble has {self.params.cycles} cycles, and the run {context.epochs} epochs.",
                f"Choose --epochs {self.params.cycles} or more, or fewer cycles.",
            )

    def init(self, shapes: Shapes, params: Tensors, buffers: Tensors) -> dict[str, Tensor]:
        """Nothing taken yet."""
        tensors = {**params, **buffers}
        taken = next(iter(params.values())).new_zeros(())
        kept = {f"{n}/{name}": t.detach().clone() for n in range(self.params.cycles) for name, t in tensors.items()}
        return {"taken": taken, **kept}

    def after_epoch(self, step: Step, metrics: Tensors, params: Tensors, buffers: Tensors) -> EpochEnd:
        """Takes the network where a cycle ends, and sets the learning rate of the next epoch."""
        cycles, epoch, epochs = self.params.cycles, step.clock.epoch, step.clock.epochs
        state = dict(step.state)
        number = epoch * cycles // epochs
        if number > (epoch - 1) * cycles // epochs:
            tensors = {**params, **buffers}
            state |= {f"{number - 1}/{name}": value.clone() for name, value in tensors.items()}
            state["taken"] = state["taken"] + 1
        now, before = (cosine(step.settings["lowest"], e * cycles % epochs / epochs) for e in (epoch, epoch - 1))
        return EpochEnd(params, buffers, state, rate_scale=now / before)

    def finalize(
        self, step: Step, params: Tensors, buffers: Tensors, batches: Iterable[Step]
    ) -> Member | Sequence[Member]:
        """The networks that were taken; the one that there is, where the run ended before the first cycle did."""
        taken = [self._network(step.state, n, params, buffers) for n in range(int(step.state["taken"]))]
        return taken or (params, buffers)

    def _network(self, state: Tensors, number: int, params: Tensors, buffers: Tensors) -> Member:
        own = tuple({name: state[f"{number}/{name}"] for name in tensors} for tensors in (params, buffers))
        return own[0], own[1]
