"""Temporal ensembling."""

from __future__ import annotations

from typing import final

from torch import Tensor

from regplug.regularizer import Outputs, RegularizerFunctions, Shapes, Step, Tensors
from regplug_regularizers.targets.consistency import answers, ramp_up, squared_distance


@final
class TemporalEnsembling(RegularizerFunctions):
    """Adds the squared distance of each row's outputs to an average of its outputs in the epochs before.

    `Z = momentum * Z + (1 - momentum) * z` for each row, and the target is `Z / (1 - momentum^e)` after e epochs; there
    is none in the first one. The distance is of class probabilities, or of the values of a regression.
    Source: Laine and Aila 2017, algorithm 2.
    """

    def init(self, shapes: Shapes, params: Tensors, buffers: Tensors) -> dict[str, Tensor]:
        """The averages of all training rows."""
        return {"average": next(iter(params.values())).new_zeros(shapes.rows, shapes.outputs[1])}

    def penalty(self, step: Step, weights: Tensors, outputs: Outputs) -> Tensor | None:
        """The distance, whose weight rises over the first part of the run."""
        epoch = step.clock.epoch
        if epoch == 0:
            return None
        target = step.state["average"][step.require_batch().rows] / (1 - step.settings["momentum"] ** epoch)
        factor: Tensor = step.settings["strength"] * ramp_up(epoch / step.clock.epochs, self.params.ramp)
        return factor * squared_distance(answers(outputs.logits, step.clock.task), target)

    def after_step(self, step: Step, params: Tensors) -> tuple[Tensors, Tensors]:
        """The averages of the batch's rows take in what was put out."""
        rows, average, momentum = step.require_batch().rows, step.state["average"], step.settings["momentum"]
        assert step.outputs is not None  # noqa: S101 - there are outputs after the objective
        now = momentum * average[rows] + (1 - momentum) * answers(step.outputs.logits, step.clock.task)
        return params, {"average": average.index_put((rows,), now)}
