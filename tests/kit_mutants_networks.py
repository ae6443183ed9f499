"""Bugs of replaced modules and of layers that act in evaluation."""

from __future__ import annotations

import numpy as np
import torch
from kit_mutants import bug
from kit_mutants_contract import Share
from torch import nn

from regplug.regularizer import RegularizerFunctions
from regplug.sites import SiteLayer, Sites


@bug("new_weights_follow_the_seed")
class ReplacesByWeightsOfNumpy(RegularizerFunctions):
    def restructure(self, model, sites):
        for site in sites.weighted():
            if isinstance(site.module, nn.Linear):
                with torch.no_grad():
                    site.module.weight.copy_(torch.from_numpy(np.random.randn(*site.module.weight.shape)))  # noqa: NPY002 - the bug


@bug("new_weights_follow_the_seed")
class StartsFromItsOwnSeed(RegularizerFunctions):
    def restructure(self, model, sites):
        torch.manual_seed(0)
        for site in sites.chosen((), Sites.activations):
            sites.replace(site, nn.Sequential(nn.PReLU(), nn.Identity()))


@bug("shapes_and_dtypes_are_kept")
class ReplacesByFloat32(RegularizerFunctions):
    class Halved(nn.Module):
        def forward(self, x):
            return torch.tanh(x.float())

    def restructure(self, model, sites):
        for site in sites.chosen((), Sites.activations):
            sites.replace(site, self.Halved())


@bug("layers_are_owned")
class ReplacesByOneModule(RegularizerFunctions):
    module = nn.Softsign()

    def restructure(self, model, sites):
        for site in sites.chosen((), Sites.activations):
            sites.replace(site, self.module)


class Scale(nn.Module):
    def __init__(self, factor):
        super().__init__()
        self.factor = factor

    def forward(self, x):
        return self.factor * x


class Scaled(RegularizerFunctions):
    """A layer that acts in evaluation as it should: bugs change one thing of it."""

    class Layer(SiteLayer):
        def act(self, step, noise, x):
            return (1 - step.settings["share"]) * x

        def evaluate(self, settings, x):
            return (1 - settings["share"]) * x

        def settled(self, settings):
            return Scale(1 - settings["share"])

    def restructure(self, model, sites):
        for site in sites.chosen((), Sites.activations):
            sites.after(site, self.Layer())


@bug("settled_network_is_the_evaluated_one", params=Share)
class SettlesIntoNothing(Scaled):
    class Layer(Scaled.Layer):
        def settled(self, settings):
            return nn.Identity()


@bug("settled_network_is_the_evaluated_one", params=Share)
class SettlesIntoItself(Scaled):
    class Layer(Scaled.Layer):
        def settled(self, settings):
            return self


@bug("schedule_is_followed", params=Share)
class SettlesAsItWasBuilt(Scaled):
    """Right as long as the number does not change over the run."""

    class Layer(Scaled.Layer):
        def evaluate(self, settings, x):
            self.first = self.first if hasattr(self, "first") else float(settings["share"])
            return super().evaluate(settings, x)

        def settled(self, settings):
            return Scale(0.5)


@bug("rows_are_independent_in_evaluation", params=Share)
class EvaluatesByTheBatch(Scaled):
    class Layer(Scaled.Layer):
        def evaluate(self, settings, x):
            return x - settings["share"] * x.mean(0, keepdim=True)
