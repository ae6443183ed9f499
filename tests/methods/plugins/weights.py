"""Methods that act on weights and their gradients, as plugins."""

from dataclasses import dataclass
from typing import Annotated

import torch
import torch.nn.functional as F
from annotated_types import Ge, Lt
from torch import nn

from regplug.api import Stackable
from regplug.noise import normal
from regplug.regularizer import RegularizerFunctions
from regplug.sites import WeightLayer


@dataclass(frozen=True)
class Strength:
    strength: Annotated[float, Ge(0), Stackable()] = 0.1
    "The norm, the factor of the divergence, or the variance of the noise."


@dataclass(frozen=True)
class Share:
    share: Annotated[float, Ge(0), Lt(1), Stackable(off=0)] = 0.5
    "Share of the weights that are dropped or pruned."


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


class Pruning(RegularizerFunctions):
    """Sets the smallest weights to zero, every fourth step more of them, up to share (Zhu and Gupta 2017)."""

    Params = Share

    def init(self, shapes, params, buffers):
        like = next(iter(params.values()))
        return {name: like.new_ones(shape) for name, shape in shapes.weights.items()}

    def after_step(self, step, params):
        if step.clock.index % 4:
            return params, step.state
        share = step.settings["share"] * (1 - (1 - (step.clock.index + 1) / step.clock.count) ** 3)
        weights = step.select(step.weights(params))
        return params, {**step.state, **{name: self.mask(value, share) for name, value in weights.items()}}

    def mask(self, weight, share):
        rank = weight.abs().flatten().argsort().argsort().view_as(weight)
        return (rank >= (share * weight.numel()).round()).to(weight.dtype)

    def project(self, step, name, weight):
        return weight * step.state[name] if step.clock.roles[name] == "weight" else weight
