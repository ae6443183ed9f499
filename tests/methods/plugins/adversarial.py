"""A gradient penalty, as a plugin."""

from dataclasses import dataclass
from typing import Annotated

import torch.nn.functional as F
from annotated_types import Ge

from regplug.api import Stackable
from regplug.regularizer import RegularizerFunctions


@dataclass(frozen=True)
class Strength:
    strength: Annotated[float, Ge(0), Stackable(off=0)] = 0.1
    "Factor of the penalty."


class GradientPenalty(RegularizerFunctions):
    """Adds strength times the mean squared gradient of each row's loss by its inputs (Drucker and Le Cun 1992)."""

    Params = Strength

    def penalty(self, step, weights, outputs):
        def loss(x):
            return F.cross_entropy(step.run(x=x).logits, step.batch.y, reduction="sum")

        gradient = step.gradient(loss, step.batch.x)
        return step.settings["strength"] * gradient.square().sum(1).mean()
