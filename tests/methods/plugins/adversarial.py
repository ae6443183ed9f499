"""Adversarial training and gradient penalties, as plugins."""

from dataclasses import dataclass
from typing import Annotated

import torch
import torch.nn.functional as F
from annotated_types import Ge

from regplug.api import Stackable
from regplug.noise import normal, uniform
from regplug.regularizer import RegularizerFunctions


@dataclass(frozen=True)
class Strength:
    strength: Annotated[float, Ge(0), Stackable(off=0)] = 0.1
    "Radius of the change of the input, or factor of the penalty."


class FGSM(RegularizerFunctions):
    """Trains on the mean of the loss at x and at x + strength * sign(gradient) (Goodfellow et al. 2015)."""

    Params = Strength

    def wrap_loss(self, step, loss):
        def wrapped(params, number=0, **given):
            x = given.pop("x", step.batch.x)
            gradient = step.gradient(lambda x: loss(params, number, x=x, **given)[0], x)
            clean, outputs = loss(params, number, x=x, **given)
            moved = x + step.settings["strength"] * gradient.sign().detach()
            return (clean + loss(params, number, x=moved, **given)[0]) / 2, outputs

        return wrapped


class PGD(RegularizerFunctions):
    """Trains on the worst input within strength of x alone, found in three steps from a random start (Madry 2018)."""

    Params = Strength

    def noise(self, shapes, settings):
        return {"start": uniform(shapes.x)}

    def batch(self, step, x, y):
        radius = step.settings["strength"]
        moved = x + radius * (2 * step.noise["start"] - 1)
        for _ in range(3):
            gradient = step.gradient(lambda x: F.cross_entropy(step.run(x=x).logits, y), moved)
            moved = torch.clamp(moved + radius / 2 * gradient.sign(), x - radius, x + radius).detach()
        return moved, y


class VAT(RegularizerFunctions):
    """Adds the divergence of the outputs at x and at the worst x + r with |r| = strength (Miyato et al. 2018)."""

    Params = Strength

    def noise(self, shapes, settings):
        return {"direction": normal(shapes.x)}

    def penalty(self, step, weights, outputs):
        clean = outputs.logits.detach().log_softmax(1)

        def divergence(change):
            moved = step.run(x=step.batch.x + change).logits.log_softmax(1)
            return (clean.exp() * (clean - moved)).sum(1).mean()

        gradient = step.gradient(divergence, 1e-3 * F.normalize(step.noise["direction"], dim=1))
        return divergence(step.settings["strength"] * F.normalize(gradient, dim=1).detach())


class GradientPenalty(RegularizerFunctions):
    """Adds strength times the mean squared gradient of each row's loss by its inputs (Drucker and Le Cun 1992)."""

    Params = Strength

    def penalty(self, step, weights, outputs):
        def loss(x):
            return F.cross_entropy(step.run(x=x).logits, step.batch.y, reduction="sum")

        gradient = step.gradient(loss, step.batch.x)
        return step.settings["strength"] * gradient.square().sum(1).mean()
