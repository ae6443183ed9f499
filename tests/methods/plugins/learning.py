"""Teachers, and losses that weigh rows, as plugins."""

import math
from dataclasses import dataclass
from typing import Annotated

import torch
from annotated_types import Ge

from regplug.api import Stackable
from regplug.regularizer import EpochEnd, RegularizerFunctions


@dataclass(frozen=True)
class Strength:
    strength: Annotated[float, Ge(0), Stackable(off=0)] = 1.0
    "Factor of the distance to the teacher, or exponent, or threshold of the loss."


def ramp_up(share):
    """From exp(-5) to 1, as both papers on teachers have it."""
    return math.exp(-5 * (1 - min(share, 1.0)) ** 2)


class MeanTeacher(RegularizerFunctions):
    """Adds the distance to a slow average of the weights, which sees masks of its own (Tarvainen and Valpola 2017)."""

    Params = Strength
    passes = 2

    def init(self, shapes, params, buffers):
        return {name: value.detach().clone() for name, value in params.items()}

    def penalty(self, step, weights, outputs):
        with torch.no_grad():
            teacher = step.run(params=step.state, number=1).logits.softmax(1)
        factor = step.settings["strength"] * ramp_up(step.clock.index / step.clock.count)
        return factor * (outputs.logits.softmax(1) - teacher).square().mean()

    def after_step(self, step, params):
        return params, {name: 0.9 * step.state[name] + 0.1 * value for name, value in params.items()}

    def evaluated(self, step, params, buffers):
        return step.state, step.recompute_statistics(step.state, buffers)

    def finalize(self, step, params, buffers, batches):
        return step.state, step.recompute_statistics(step.state, buffers, batches)


class TemporalEnsembling(RegularizerFunctions):
    """Adds the distance to an average of each row's outputs over the epochs before (Laine and Aila 2017)."""

    Params = Strength

    def init(self, shapes, params, buffers):
        return {"average": next(iter(params.values())).new_zeros(shapes.rows, shapes.outputs[1])}

    def penalty(self, step, weights, outputs):
        epoch = step.clock.epoch
        if epoch == 0:
            return None
        target = step.state["average"][step.batch.rows] / (1 - 0.6**epoch)
        factor = step.settings["strength"] * ramp_up(epoch / step.clock.epochs)
        return factor * (outputs.logits.softmax(1) - target).square().mean()

    def after_step(self, step, params):
        rows, average = step.batch.rows, step.state["average"]
        now = 0.6 * average[rows] + 0.4 * step.outputs.logits.softmax(1)
        return params, {"average": average.index_put((rows,), now)}


class Focal(RegularizerFunctions):
    """Multiplies each row's loss with (1 - p)^strength, p the probability of its class (Lin et al. 2017)."""

    Params = Strength

    def sample_losses(self, step, losses, outputs):
        probability = outputs.logits.softmax(1).gather(1, step.batch.labels[:, None])[:, 0]
        return (1 - probability) ** step.settings["strength"] * losses


class SelfPaced(RegularizerFunctions):
    """Trains on the rows whose loss is below a threshold that grows by a fifth each epoch (Kumar et al. 2010)."""

    Params = Strength

    def init(self, shapes, params, buffers):
        return {"pace": next(iter(params.values())).new_ones(())}

    def sample_losses(self, step, losses, outputs):
        return torch.where(losses.detach() < step.settings["strength"] * step.state["pace"], losses, 0.0)

    def after_epoch(self, step, metrics, params, buffers):
        return EpochEnd(params, buffers, {"pace": 1.2 * step.state["pace"]})
