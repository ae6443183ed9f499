"""Parametrizations on weights, the effective weights that they make, and what the trained model keeps of them."""

from __future__ import annotations

import copy
import dataclasses
from typing import Annotated

import pytest
import torch
import torch.nn.functional as F
from annotated_types import Ge
from by_hand import train_by_hand
from torch import nn
from torch.nn.utils import parametrizations, parametrize
from trainings import assembled, assert_same_bits, greatest_difference, stack, trained, trainer, weights

from regplug.api import Regularizer, Stackable
from regplug.errors import CompositionError, PluginError
from regplug.noise import bits, keep_mask
from regplug.regularization.finding import find_roles
from regplug.regularization.settling import settle
from regplug.regularizer import RegularizerFunctions
from regplug.sites import WeightLayer


@dataclasses.dataclass(frozen=True)
class Strength:
    strength: Annotated[float, Ge(0), Stackable(off=0)] = 0.5
    "How much."


def here(functions, **more):
    """A regularizer of this file."""
    return Regularizer(name=functions.__name__.lower(), target=f"{__name__}:{functions.__name__}", summary="", **more)


def by_path(functions, strength):
    """The same with a number."""
    return f"{__file__}:{functions.__name__}:strength={strength}"


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
    made = assembled(model=network(), reg=[here(Gain, params=Strength)])
    roles = find_roles(made.network.model)
    assert roles["0.parametrizations.weight.0.gain"] == "auxiliary"
    assert roles["0.weight"] == "weight"
    before = made.inputs.params["0.parametrizations.weight.0.gain"].clone()
    ours, _ = trained(trainer(model=network(), reg=[here(Gain, params=Strength)]))
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

    if reg.startswith("l2"):
        return {
            "loss": lambda logits, y: (
                F.cross_entropy(logits, y) + 0.05 * sum(layer.weight.square().sum() for layer in layers)
            )
        }
    if reg.startswith("weight_decay"):
        return {"before": lambda: scale(lambda weight: 1 - 0.2 * 0.1)}
    return {"after": lambda: scale(lambda weight: (0.5 / (weight.norm(dim=1, keepdim=True) + 1e-7)).clamp(max=1))}


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


# Effective weights of the model's own parametrizations.


@pytest.mark.parametrize("reg", ["l2:strength=0.1", "weight_decay:strength=0.1", "max_norm:max_norm=0.5"])
def test_a_model_with_weight_norm_is_trained_as_by_hand(reg):
    model = network(parametrizations.weight_norm).double()
    by_hand = copy.deepcopy(model)
    fields = {"model": model, "reg": [reg], **FIELDS}
    train_by_hand(by_hand, assembled(**fields), **_acting_on_property(reg, by_hand))
    expected = {name: value.detach() for name, value in by_hand.named_parameters()}
    alone, _ = trained(trainer(**fields))
    many, _ = trained(stack({"reg": [reg]}, {"reg": [reg], "seed": 1}, **{**fields, "reg": ()}))
    assert greatest_difference(weights(alone), expected, relative=True) < 1e-9
    assert greatest_difference(weights(many, 0), expected, relative=True) < 1e-9


def _acting_on_property(reg, model):
    layers = [module for module in model.modules() if isinstance(module, nn.Linear)]

    @torch.no_grad()
    def scale(factor):
        for layer in layers:
            if parametrize.is_parametrized(layer):
                layer.weight = layer.weight * factor(layer.weight)
            else:
                layer.weight.mul_(factor(layer.weight))

    if reg.startswith("l2"):
        return {
            "loss": lambda logits, y: (
                F.cross_entropy(logits, y) + 0.05 * sum(layer.weight.square().sum() for layer in layers)
            )
        }
    if reg.startswith("weight_decay"):
        return {"before": lambda: scale(lambda weight: 1 - 0.2 * 0.1)}
    return {"after": lambda: scale(lambda weight: (0.5 / (weight.norm(dim=1, keepdim=True) + 1e-7)).clamp(max=1))}


def test_a_penalty_moves_no_buffer_of_a_models_own_spectral_norm():
    model = network(parametrizations.spectral_norm)
    runs = [trained(trainer(model=model, reg=reg, **FIELDS))[0] for reg in ([], ["l2:strength=0"])]
    assert_same_bits(weights(runs[0]), weights(runs[1]))


def test_looking_at_the_effective_weights_moves_nothing():
    made = trainer(model=network(parametrizations.spectral_norm), **FIELDS)
    for _ in made.train():
        before = weights(made)
        first, second = made.weights_of(0), made.weights_of(0)
        assert_same_bits(first, second)
        assert_same_bits(before, weights(made))
    module = made._program.model[0].eval()
    assert torch.equal(first["0.weight"], module.weight)


class PenaltyInTheLoss(RegularizerFunctions):
    """L2 written as a wrapper of the loss, on the effective weights at its parameters."""

    Params = Strength

    def wrap_loss(self, step, loss):
        def wrapped(params, number=0, **given):
            weights = step.select(step.weights(params))
            value, outputs = loss(params, number, **given)
            return value + step.settings["strength"] / 2 * sum(w.square().sum() for w in weights.values()), outputs

        return wrapped


class PowerNorm(RegularizerFunctions):
    """A spectral norm whose buffer the graph holds in evaluation too."""

    def restructure(self, model, sites):
        for site in sites.weighted():
            sites.on_weight(site, PowerNormLayer(site.module.weight.detach()))


class PowerNormLayer(WeightLayer):
    def __init__(self, weight):
        super().__init__()
        self.register_buffer("v", F.normalize(torch.ones_like(weight[0]), dim=0))

    def act(self, step, noise, weight):
        with torch.no_grad():
            v = F.normalize(weight.T @ (weight @ self.v), dim=0)
        return weight / (weight @ v).norm(), {"v": v}

    def evaluate(self, settings, weight):
        return weight / (weight @ self.v).norm()


def test_the_effective_weights_at_given_parameters_are_those_that_penalties_get():
    """But for the buffers, which a wrapper of the loss sees before the pass and a penalty after it."""
    fields = {"model": network(parametrizations.weight_norm), **FIELDS}
    in_loss, _ = trained(trainer(reg=[by_path(PenaltyInTheLoss, 0.1)], **fields))
    penalty, _ = trained(trainer(reg=["l2:strength=0.1"], **fields))
    assert greatest_difference(weights(in_loss), weights(penalty), relative=True) < 1e-12
    together = [here(PowerNorm), by_path(PenaltyInTheLoss, 0.1), "l2:strength=0.1"]
    alone, _ = trained(trainer(**{**fields, "model": network(), "reg": together}))
    many, _ = trained(stack({}, {"seed": 1}, **{**fields, "model": network(), "reg": together}))
    assert greatest_difference(weights(alone), weights(many, 0), relative=True) < 1e-9


# Refusals.


class NoInverse(RegularizerFunctions):
    """Standardizes each unit's weights, which has no inverse."""

    def restructure(self, model, sites):
        for site in sites.weighted():
            sites.on_weight(site, Standardized())


class Standardized(WeightLayer):
    def act(self, step, noise, weight):
        return self.evaluate(step.settings, weight)

    def evaluate(self, settings, weight):
        return (weight - weight.mean(1, keepdim=True)) / weight.std(1, keepdim=True)


class WrongInverse(NoInverse):
    """The same with an inverse that gives another weight back."""

    def restructure(self, model, sites):
        for site in sites.weighted():
            sites.on_weight(site, Claims())


class Claims(Standardized):
    def right_inverse(self, weight):
        return weight


class Prunes(RegularizerFunctions):
    """Projects with its state, by the names of the effective weights."""

    def init(self, shapes, params, buffers):
        return {name: next(iter(params.values())).new_ones(shape) for name, shape in shapes.weights.items()}

    def project(self, step, name, weight):
        return weight * step.state[name]


@pytest.mark.parametrize("functions", [NoInverse, WrongInverse])
@pytest.mark.parametrize("reg", ["weight_decay", "max_norm", here(Prunes)])
def test_what_sets_a_weight_that_cannot_be_set_is_refused(functions, reg):
    with pytest.raises(CompositionError, match=r"sets the weight 0.weight, .* no right_inverse") as caught:
        assembled(model=network(), reg=[here(functions), reg])
    assert "penalty" in caught.value.hint


def test_a_penalty_on_a_weight_that_cannot_be_set_is_welcome():
    trained(trainer(model=network(), reg=[here(NoInverse), "l2:strength=0.1"], **FIELDS))


def test_a_projection_finds_its_state_under_the_names_of_effective_weights():
    model = network(parametrizations.weight_norm)
    alone, _ = trained(trainer(model=model, reg=[here(Prunes)], **FIELDS))
    many, _ = trained(stack({}, {"seed": 1}, model=model, reg=[here(Prunes)], **FIELDS))
    assert greatest_difference(alone.weights_of(0), many.weights_of(0), relative=True) < 1e-9


class OnBias(RegularizerFunctions):
    """Puts a layer on a parameter that is not there."""

    def restructure(self, model, sites):
        sites.on_weight(sites.weighted()[0], DropLayer(), name="gamma")


def test_a_layer_on_a_parameter_that_is_not_there_is_refused_with_those_that_are():
    with pytest.raises(CompositionError, match=r"onbias: 0 .Linear. has no parameter gamma") as caught:
        assembled(model=network(), reg=[here(OnBias)])
    assert "weight, bias" in caught.value.hint


# Buffers of layers.


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
    with pytest.raises(PluginError, match=r"WrongBuffer.*WrongBufferLayer.* mean") as caught:
        trained(trainer(model=network(), reg=[f"{__file__}:WrongBuffer"]))
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
        trained(trainer(model=network(), reg=[f"{__file__}:{functions.__name__}"]))
    assert "Return it" in caught.value.hint


class Misspelt(Smoothed):
    """Reads an attribute that its layer has not."""

    def restructure(self, model, sites):
        sites.on_weight(sites.weighted()[0], MisspeltLayer(sites.weighted()[0].module.weight.detach()))


class MisspeltLayer(SmoothedLayer):
    def act(self, step, noise, weight):
        return weight * self.averages


def test_a_misspelt_attribute_of_a_layer_is_not_taken_for_a_missing_weight():
    with pytest.raises(PluginError, match=r"Misspelt: MisspeltLayer failed at 0.weight: .*'averages'"):
        trained(trainer(model=network(), reg=[f"{__file__}:Misspelt"]))
