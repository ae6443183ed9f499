"""An exponential moving average of the weights."""

from __future__ import annotations

from collections.abc import Iterable
from typing import final

from torch import Tensor

from regplug.regularizer import Member, RegularizerFunctions, Shapes, Step, Tensors


@final
class Ema(RegularizerFunctions):
    """Averages the weights after each step, `average = decay * average + (1 - decay) * w`, and ends with the average.

    The average starts as the weights after the first step. In training nothing changes; evaluations see the average,
    and the running statistics of batch normalizations are recomputed for it.

    Source: Polyak and Juditsky 1992; torch.optim.swa_utils.get_ema_multi_avg_fn, whose decay is one number.
    """

    def init(self, shapes: Shapes, params: Tensors, buffers: Tensors) -> dict[str, Tensor]:
        """The weights at the start; the first step replaces them."""
        return {name: value.detach().clone() for name, value in params.items()}

    def after_step(self, step: Step, params: Tensors) -> tuple[Tensors, Tensors]:
        """Takes this step's weights in."""
        if step.clock.index == 0:
            return params, {name: value.clone() for name, value in params.items()}
        share = 1 - step.settings["decay"]
        averages = {name: old + share * (params[name] - old) for name, old in step.state.items()}
        return params, averages

    def evaluated(self, step: Step, params: Tensors, buffers: Tensors) -> Member:
        """The average, with statistics of its own."""
        return step.state, step.recompute_statistics(step.state, buffers)

    def finalize(self, step: Step, params: Tensors, buffers: Tensors, batches: Iterable[Step]) -> Member:
        """The average, with statistics of its own."""
        return step.state, step.recompute_statistics(step.state, buffers, batches)
