"""A method that ends with several networks, as a plugin."""

import math
from dataclasses import dataclass
from typing import Annotated

from annotated_types import Ge, Le

from regplug.api import Stackable
from regplug.regularizer import EpochEnd, RegularizerFunctions


@dataclass(frozen=True)
class Cycles:
    lowest: Annotated[float, Ge(0), Le(1), Stackable(off=1)] = 0.1
    "The lowest learning rate of a cycle, as a share of the highest."
    cycles: Annotated[int, Ge(1)] = 3
    "How many cycles, of equally many epochs."


class SnapshotEnsemble(RegularizerFunctions):
    """Lowers the learning rate along a cosine from epoch to epoch, in several cycles, and ends with the networks at the
    end of each cycle (Huang et al. 2017)."""

    Params = Cycles

    def init(self, shapes, params, buffers):
        tensors = {**params, **buffers}
        return {f"{n}/{name}": t.detach().clone() for n in range(self.params.cycles) for name, t in tensors.items()}

    def after_epoch(self, step, metrics, params, buffers):
        length = step.clock.epochs // self.params.cycles
        cycle, phase = divmod(step.clock.epoch, length)
        state = dict(step.state)
        if phase == 0 and cycle <= self.params.cycles:
            state |= {f"{cycle - 1}/{name}": value.clone() for name, value in {**params, **buffers}.items()}
        now, before = (self.rate(step.settings["lowest"], p % length / length) for p in (phase, phase - 1))
        return EpochEnd(params, buffers, state, rate_scale=now / before)

    def rate(self, lowest, share):
        return lowest + (1 - lowest) * (1 + math.cos(math.pi * share)) / 2

    def finalize(self, step, params, buffers, batches):
        def network(n):
            return tuple({name: step.state[f"{n}/{name}"] for name in tensors} for tensors in (params, buffers))

        return [network(n) for n in range(self.params.cycles)]
