"""Methods that act on weights and their gradients, as plugins."""

from dataclasses import dataclass
from typing import Annotated

import torch
import torch.nn.functional as F
from annotated_types import Ge
from torch import nn

from regplug.api import Stackable
from regplug.noise import normal
from regplug.regularizer import RegularizerFunctions
from regplug.sites import WeightLayer


@dataclass(frozen=True)
class Strength:
    strength: Annotated[float, Ge(0), Stackable()] = 0.1
    "The norm, the factor of the divergence, or the variance of the noise."


class VariationalDropout(RegularizerFunctions):
    """Multiplies each weight with 1 + sqrt(alpha) * N(0, 1), learns its alpha and adds strength times the divergence
    from the log-uniform prior (Kingma et al. 2015; approximated as in Molchanov et al. 2017)."""

    Params = Strength

    def restructure(self, model, sites):
        for site in sites.weighted():
            sites.on_weight(site, VariationalLayer(site.module.weight.detach()))

    def noise(self, shapes, settings):
        return {place.key: normal(place.shape, per_sample=False) for place in shapes.places}

    def penalty(self, step, weights, outputs):
        alphas = [value for name, value in weights.items() if name.endswith(".log_alpha")]
        return step.settings["strength"] * sum(self.divergence(log_alpha) for log_alpha in alphas)

    def divergence(self, log_alpha):
        gain = 0.63576 * torch.sigmoid(1.87320 + 1.48695 * log_alpha)
        return (0.63576 - gain + 0.5 * F.softplus(-log_alpha)).sum()


class VariationalLayer(WeightLayer):
    def __init__(self, weight):
        super().__init__()
        self.log_alpha = nn.Parameter(torch.full_like(weight, -3.0))

    def act(self, step, noise, weight):
        return weight * (1 + (self.log_alpha / 2).exp() * noise)
