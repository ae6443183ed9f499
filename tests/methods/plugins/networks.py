"""Methods that act inside the network or end with several, as plugins."""

import math
from dataclasses import dataclass
from typing import Annotated

import torch
from annotated_types import Ge, Le

from regplug.api import Stackable
from regplug.noise import beta, permutation, uniform
from regplug.regularizer import EpochEnd, RegularizerFunctions
from regplug.sites import SiteLayer, Sites


@dataclass(frozen=True)
class Alpha:
    alpha: Annotated[float, Ge(0), Stackable(off=0)] = 1.0
    "Both parameters of the beta distribution of the share."


@dataclass(frozen=True)
class Cycles:
    lowest: Annotated[float, Ge(0), Le(1), Stackable(off=1)] = 0.1
    "The lowest learning rate of a cycle, as a share of the highest."
    cycles: Annotated[int, Ge(1)] = 3
    "How many cycles, of equally many epochs."


class ManifoldMixup(RegularizerFunctions):
    """Blends the rows of the batch at the input or behind one activation, drawn at each step (Verma et al. 2019)."""

    Params = Alpha
    needs_soft_targets = True

    def restructure(self, model, sites):
        activations = sites.chosen((), Sites.activations)
        self.choose = Choice(1 + len(activations))
        for site in activations:
            sites.after(site, MixedLayer(self.choose))

    def noise(self, shapes, settings):
        place = uniform((), per_sample=False)
        return {"share": beta(settings["alpha"]), "partner": permutation(shapes.x[0]), "place": place}

    def batch(self, step, x, y):
        return self.choose(step, x, 0), blended(step, y)


class MixedLayer(SiteLayer):
    def __init__(self, choose):
        super().__init__()
        self.choose = choose

    def act(self, step, noise, x):
        return self.choose(step, x, 1 + self.index)


@dataclass(frozen=True)
class Choice:
    places: int

    def __call__(self, step, x, place):
        return torch.where((step.noise["place"] * self.places).floor() == place, blended(step, x), x)


def blended(step, values):
    share = step.noise["share"]
    return share * values + (1 - share) * values[step.noise["partner"]]


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
