"""Mean teacher."""

from __future__ import annotations

from collections.abc import Iterable
from typing import final

import torch
from torch import Tensor

from regplug.regularizer import Member, Outputs, RegularizerFunctions, Shapes, Step, Tensors
from regplug_regularizers.targets.consistency import answers, ramp_up, squared_distance


@final
class MeanTeacher(RegularizerFunctions):
    """Adds the squared distance of the outputs to those of a teacher, an average of the weights; the run ends with it.

    After each step `teacher = decay * teacher + (1 - decay) * weights`. The teacher sees the batch with masks of its
    own. The distance is of class probabilities, or of the values of a regression. Source: Tarvainen and Valpola 2017.
    """

    passes = 2

    def init(self, shapes: Shapes, params: Tensors, buffers: Tensors) -> dict[str, Tensor]:
        """The teacher's weights."""
        return {name: value.detach().clone() for name, value in params.items()}

    def penalty(self, step: Step, weights: Tensors, outputs: Outputs) -> Tensor:
        """The distance, whose weight rises over the first part of the run."""
        with torch.no_grad():
            teacher = step.run(params=step.state, number=1).logits
        task = step.clock.task
        factor: Tensor = step.settings["strength"] * ramp_up(step.clock.index / step.clock.count, self.params.ramp)
        return factor * squared_distance(answers(outputs.logits, task), answers(teacher, task))

    def after_step(self, step: Step, params: Tensors) -> tuple[Tensors, Tensors]:
        """The teacher follows."""
        decay = step.settings["decay"]
        return params, {name: decay * step.state[name] + (1 - decay) * value for name, value in params.items()}

    def evaluated(self, step: Step, params: Tensors, buffers: Tensors) -> Member:
        """The teacher, with running statistics of its own."""
        return step.state, step.recompute_statistics(step.state, buffers)

    def finalize(self, step: Step, params: Tensors, buffers: Tensors, batches: Iterable[Step]) -> Member:
        """The teacher, with running statistics over all batches."""
        return step.state, step.recompute_statistics(step.state, buffers, batches)
