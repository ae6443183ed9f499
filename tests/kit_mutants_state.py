"""Bugs of what layers keep, save and export."""

from __future__ import annotations

import torch
from kit_mutants import DROPPING, Dropping, Layers, RightLayer, bug
from torch import nn

from regplug.regularizer import RegularizerFunctions
from regplug.sites import Sites

NORMALIZING = {"tags": ("normalization", "batch-statistics")}


class Statistics(nn.Module):
    """Centres each channel by a running mean; bugs are in how it is kept."""

    def __init__(self, channels):
        super().__init__()
        self.register_buffer("running_mean", torch.zeros(channels))

    def shaped(self, mean, x):
        return x - mean.view(1, -1, *[1] * (x.ndim - 2))

    def batch_mean(self, x):
        return x.mean([0, *range(2, x.ndim)])

    def keep(self, mean):
        self.running_mean.copy_(0.9 * self.running_mean + 0.1 * mean.detach())

    def forward(self, x):
        if not self.training:
            return self.shaped(self.running_mean, x)
        mean = self.batch_mean(x)
        self.keep(mean)
        return self.shaped(mean, x)


class _Centring(RegularizerFunctions):
    def restructure(self, model, sites):
        for site in sites.chosen((), Sites.activations):
            sites.before(site, self.Layer(site.input_shape[1]))


@bug("training_moves_statistics", **NORMALIZING)
class AssignsStatistics(_Centring):
    class Layer(Statistics):
        def keep(self, mean):
            self.running_mean = 0.9 * self.running_mean + 0.1 * mean.detach()


@bug("training_moves_statistics", **NORMALIZING)
class NeverMovesStatistics(_Centring):
    class Layer(Statistics):
        def keep(self, mean):
            pass


@bug("evaluation_leaves_buffers", **NORMALIZING)
class MovesStatisticsInEvaluation(_Centring):
    class Layer(Statistics):
        def forward(self, x):
            self.keep(self.batch_mean(x))
            return self.shaped(self.running_mean, x)


@bug("state_dict_holds_all", **NORMALIZING)
class StatisticsAsAPlainAttribute(_Centring):
    class Layer(Statistics):
        def __init__(self, channels):
            nn.Module.__init__(self)
            self.running_mean = torch.zeros(channels)

        def keep(self, mean):
            self.running_mean = 0.9 * self.running_mean.to(mean.dtype) + 0.1 * mean.detach()


@bug("no_tensor_is_a_plain_attribute", **DROPPING)
class KeepsATensor(Dropping):
    class Layer(RightLayer):
        def act(self, step, noise, x):
            self.last = x.detach().clone()
            return super().act(step, noise, x)


@bug("rows_are_independent_in_evaluation", **NORMALIZING)
class BatchStatisticsInEvaluation(_Centring):
    class Layer(Statistics):
        def forward(self, x):
            return self.shaped(self.batch_mean(x), x)


@bug("copies_are_equal", **DROPPING)
class HoldsALambda(Dropping):
    class Layer(RightLayer):
        def __init__(self):
            super().__init__()
            self.scale = lambda x: x


@bug("strides_do_not_matter")
class ViewsMemory(RegularizerFunctions):
    """Puts a layer in front of the network that takes its input to be contiguous."""

    class Layer(nn.Module):
        def forward(self, x):
            return x.view(-1).view(x.shape)

    def restructure(self, model, sites):
        sites.before(sites.all[0], self.Layer())


@bug("works_without_memory")
class MakesATensorOnTheCpu(Layers):
    class Layer(nn.Module):
        def forward(self, x):
            return x * torch.ones(x.shape[1:], device="cpu", dtype=x.dtype)


@bug("exports_with_torch_export")
class BranchesOnNumbers(Layers):
    class Layer(nn.Module):
        def forward(self, x):
            return x if x.sum() > 0 else 1.0 * x


@bug("layers_are_owned")
class SharesOneLayer(RegularizerFunctions):
    layer = nn.Identity()

    def restructure(self, model, sites):
        for site in sites.chosen((), Sites.activations):
            sites.after(site, self.layer)
