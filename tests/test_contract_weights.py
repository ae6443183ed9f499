"""Parametrizations that a regularizer puts on weights, and what the trained model keeps of them."""

from __future__ import annotations

import copy

import pytest
import torch
import torch.nn.functional as F
from by_hand import acting_by_hand, train_by_hand
from torch import nn
from torch.nn.utils import parametrizations
from trainings import assembled, greatest_difference, trained, trainer, weights
from written_here import Strength, by_path, here

from regplug.errors import CompositionError
from regplug.noise import bits, keep_mask
from regplug.regularization.finding import find_roles
from regplug.regularization.settling import settle
from regplug.regularizer import RegularizerFunctions
from regplug.sites import WeightLayer


def network(norm=None):
    """Two layers; `norm` parametrizes the first."""
    torch.manual_seed(0)
    first = nn.Linear(8, 6) if norm is None else norm(nn.Linear(8, 6))
    return nn.Sequential(first, nn.Tanh(), nn.Linear(6, 3))


FIELDS = {"dtype": "float64", "epochs": 2}


class Gain(RegularizerFunctions):
    """Multiplies each weight with a gain for each unit, which is trained and starts at strength."""

    Params = Strength

    def restructure(self, model, sites):
        for site in sites.weighted():
            sites.on_weight(site, GainLayer(site.module.weight, self.params.strength))


class GainLayer(WeightLayer):
    def __init__(self, weight, start):
        super().__init__()
        self.gain = nn.Parameter(torch.full_like(weight.detach()[:, :1], start))

    def act(self, step, noise, weight):
        return self.gain * weight

    def evaluate(self, settings, weight):
        return self.gain * weight

    def right_inverse(self, weight):
        return weight / self.gain


class GainedLinear(nn.Module):
    """The same by hand."""

    def __init__(self, linear, start):
        super().__init__()
        self.original = nn.Parameter(linear.weight.detach() / start)
        self.bias, self.gain = linear.bias, nn.Parameter(torch.full_like(linear.weight.detach()[:, :1], start))

    @property
    def weight(self):
        return self.gain * self.original

    def forward(self, x):
        return F.linear(x, self.weight, self.bias)


def test_the_parameters_of_a_layer_are_auxiliary_and_are_trained():
    made = assembled(model=network(), reg=[here(Gain)])
    roles = find_roles(made.network.model)
    assert roles["0.parametrizations.weight.0.gain"] == "auxiliary"
    assert roles["0.weight"] == "weight"
    before = made.inputs.params["0.parametrizations.weight.0.gain"].clone()
    ours, _ = trained(trainer(model=network(), reg=[here(Gain)]))
    assert not torch.equal(weights(ours)["0.parametrizations.weight.0.gain"], before)


@pytest.mark.parametrize("reg", ["l2:strength=0.1", "weight_decay:strength=0.1", "max_norm:max_norm=0.5"])
def test_what_acts_on_weights_acts_on_the_effective_weight_and_spares_what_a_layer_brought(reg):
    model = network().double()
    first, last = copy.deepcopy(model[0]), copy.deepcopy(model[2])
    by_hand = nn.Sequential(GainedLinear(first, 0.5), nn.Tanh(), GainedLinear(last, 0.5))
    fields = {"model": model, "reg": [by_path(Gain, 0.5), reg], **FIELDS}
    train_by_hand(by_hand, assembled(**fields), **_acting_by_hand(reg, by_hand))
    ours, _ = trained(trainer(**fields))
    expected = {f"{n}.weight": by_hand[n].weight.detach() for n in (0, 2)}
    got = {name: value for name, value in ours.weights_of(0).items() if name in expected}
    assert greatest_difference(got, expected, relative=True) < 1e-9
    gains = [value for name, value in weights(ours).items() if name.endswith("gain")]
    for own, layer in zip(gains, (by_hand[0], by_hand[2]), strict=True):
        torch.testing.assert_close(own, layer.gain.detach(), rtol=1e-9, atol=1e-12)


def _acting_by_hand(reg, model):
    layers = [module for module in model.modules() if isinstance(module, GainedLinear)]

    @torch.no_grad()
    def scale(factor):
        for layer in layers:
            layer.original.copy_(layer.weight * factor(layer.weight) / layer.gain)

    return acting_by_hand(reg, layers, scale)


def test_a_layer_starts_at_the_value_that_the_weight_had():
    made = assembled(model=network(), reg=[by_path(Gain, 0.25)])
    torch.testing.assert_close(made.inputs.params["0.parametrizations.weight.original"], network()[0].weight / 0.25)


def test_the_trained_model_holds_the_weight_as_an_ordinary_parameter():
    made = trainer(model=network(), reg=[by_path(Gain, 0.5)])
    list(made.train())
    effective, x = made.weights_of(0), torch.randn(5, 8)
    model = settle(made._program.model, {"Gain": {"strength": 0.5}}).eval()
    assert sorted(dict(model.named_parameters())) == ["0.bias", "0.weight", "2.bias", "2.weight"]
    assert type(model[0]) is nn.Linear
    assert torch.equal(model[0].weight, effective["0.weight"])
    assert model[0].weight.requires_grad
    hidden = torch.tanh(F.linear(x, effective["0.weight"], effective["0.bias"]))
    torch.testing.assert_close(model(x), F.linear(hidden, effective["2.weight"], effective["2.bias"]))


class Drops(RegularizerFunctions):
    """Drops weights, and notes the shape of its places."""

    Params = Strength

    def restructure(self, model, sites):
        for site in sites.weighted():
            self.place = sites.on_weight(site, DropLayer())

    def noise(self, shapes, settings):
        return {place.key: bits(place.shape, per_sample=False) for place in shapes.places}


class DropLayer(WeightLayer):
    def act(self, step, noise, weight):
        mask, scale = keep_mask(noise, step.settings["strength"])
        return weight * (mask * scale)


NORMS = {"weight_norm": parametrizations.weight_norm, "orthogonal": parametrizations.orthogonal}


@pytest.mark.parametrize("norm", NORMS)
def test_a_layer_stands_on_a_weight_that_the_model_parametrized_itself(norm):
    fields = {"model": network(NORMS[norm]), **FIELDS}
    alone, _ = trained(trainer(reg=[by_path(Drops, 0.5)], **fields))
    plain, _ = trained(trainer(reg=[by_path(Drops, 0.0)], **fields))
    bare, _ = trained(trainer(reg=[], **fields))
    assert greatest_difference(alone.weights_of(0), bare.weights_of(0)) > 1e-4
    assert greatest_difference(plain.weights_of(0), bare.weights_of(0)) < 1e-12
    effective = alone.weights_of(0)
    model = settle(alone._program.model, {"Drops": {"strength": 0.5}}).eval()
    assert sorted(dict(model.named_parameters())) == ["0.bias", "0.weight", "2.bias", "2.weight"]
    torch.testing.assert_close(model[0].weight.detach(), effective["0.weight"])


def test_noise_on_a_weight_has_its_shape_and_is_one_draw_a_step():
    made = assembled(model=network(), reg=[by_path(Drops, 0.5)])
    places = made.network.places["Drops"]
    assert [(place.key, place.shape, place.is_weight) for place in places] == [
        ("0.weight", (6, 8), True),
        ("2.weight", (3, 6), True),
    ]


class OnBias(RegularizerFunctions):
    """Puts a layer on a parameter that is not there."""

    def restructure(self, model, sites):
        sites.on_weight(sites.weighted()[0], DropLayer(), name="gamma")


def test_a_layer_on_a_parameter_that_is_not_there_is_refused_with_those_that_are():
    with pytest.raises(CompositionError, match=r"onbias: 0 .Linear. has no parameter gamma") as caught:
        assembled(model=network(), reg=[here(OnBias)])
    assert "weight, bias" in caught.value.hint
