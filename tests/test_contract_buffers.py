"""Buffers of layers: returned by `act` and written by the host."""

from __future__ import annotations

import copy

import pytest
import torch
import torch.nn.functional as F
from by_hand import train_by_hand
from torch import nn
from trainings import assembled, stack, trained, trainer, weights
from written_here import Strength, by_path, here

from regplug.errors import PluginError
from regplug.regularizer import RegularizerFunctions
from regplug.sites import WeightLayer


def network(norm=None):
    """Two layers; `norm` parametrizes the first."""
    torch.manual_seed(0)
    first = nn.Linear(8, 6) if norm is None else norm(nn.Linear(8, 6))
    return nn.Sequential(first, nn.Tanh(), nn.Linear(6, 3))


FIELDS = {"dtype": "float64", "epochs": 2}


class Smoothed(RegularizerFunctions):
    """Multiplies each weight with a running average of 1 + strength * weight, which the graph holds."""

    Params = Strength

    def restructure(self, model, sites):
        for site in sites.weighted():
            sites.on_weight(site, SmoothedLayer(site.module.weight.detach()))


class SmoothedLayer(WeightLayer):
    def __init__(self, weight):
        super().__init__()
        self.register_buffer("average", torch.ones_like(weight))

    def act(self, step, noise, weight):
        now = 1 + step.settings["strength"] * weight
        return weight * self.average, {"average": 0.9 * self.average + 0.1 * now}

    def evaluate(self, settings, weight):
        return weight * self.average


class SmoothedLinear(nn.Module):
    """The same by hand."""

    def __init__(self, linear, strength):
        super().__init__()
        self.linear, self.strength, self.average = linear, strength, torch.ones_like(linear.weight)

    def forward(self, x):
        weight = self.linear.weight * self.average
        self.average = 0.9 * self.average + 0.1 * (1 + self.strength * self.linear.weight.detach())
        return F.linear(x, weight, self.linear.bias)


def test_a_layer_may_compute_with_the_buffer_that_it_changes():
    model = network().double()
    by_hand = copy.deepcopy(model)
    by_hand[0], by_hand[2] = SmoothedLinear(by_hand[0], 0.5), SmoothedLinear(by_hand[2], 0.5)
    fields = {"model": model, **FIELDS}
    train_by_hand(by_hand, assembled(**fields))
    alone, _ = trained(trainer(reg=[by_path(Smoothed, 0.5)], **fields))
    many, _ = trained(stack({"reg": [by_path(Smoothed, 0.1)]}, {"reg": [by_path(Smoothed, 0.5)]}, **fields))
    for ours in (weights(alone), weights(many, 1)):
        for number in (0, 2):
            name = f"{number}.parametrizations.weight"
            torch.testing.assert_close(ours[f"{name}.original"], by_hand[number].linear.weight.detach())
            torch.testing.assert_close(ours[f"{name}.0.average"], by_hand[number].average)


class WrongBuffer(Smoothed):
    """Returns a buffer that its layer has not."""

    def restructure(self, model, sites):
        sites.on_weight(sites.weighted()[0], WrongBufferLayer(sites.weighted()[0].module.weight.detach()))


class WrongBufferLayer(SmoothedLayer):
    def act(self, step, noise, weight):
        return weight, {"mean": weight}


def test_a_buffer_that_the_layer_has_not_is_named():
    with pytest.raises(PluginError, match=r"wrongbuffer.*WrongBufferLayer.* mean") as caught:
        trained(trainer(model=network(), reg=[here(WrongBuffer)]))
    assert "average" in caught.value.hint


class Writes(Smoothed):
    """Writes its buffer instead of returning it."""

    def restructure(self, model, sites):
        sites.on_weight(sites.weighted()[0], WritesLayer(sites.weighted()[0].module.weight.detach()))


class WritesLayer(SmoothedLayer):
    def act(self, step, noise, weight):
        self.average.mul_(0.9)
        return weight


class Assigns(Writes):
    """Assigns its buffer instead of returning it."""

    def restructure(self, model, sites):
        sites.on_weight(sites.weighted()[0], AssignsLayer(sites.weighted()[0].module.weight.detach()))


class AssignsLayer(SmoothedLayer):
    def act(self, step, noise, weight):
        self.average = 0.9 * self.average
        return weight


@pytest.mark.parametrize("functions", [Writes, Assigns])
def test_a_layer_that_writes_its_buffer_is_told_to_return_it(functions):
    with pytest.raises(PluginError, match=rf"{functions.__name__}Layer writes the buffer average") as caught:
        trained(trainer(model=network(), reg=[here(functions)]))
    assert "Return it" in caught.value.hint


class Misspelt(Smoothed):
    """Reads an attribute that its layer has not."""

    def restructure(self, model, sites):
        sites.on_weight(sites.weighted()[0], MisspeltLayer(sites.weighted()[0].module.weight.detach()))


class MisspeltLayer(SmoothedLayer):
    def act(self, step, noise, weight):
        return weight * self.averages


def test_a_misspelt_attribute_of_a_layer_is_not_taken_for_a_missing_weight():
    with pytest.raises(PluginError, match=r"misspelt: MisspeltLayer failed at 0.weight: .*'averages'"):
        trained(trainer(model=network(), reg=[here(Misspelt)]))
