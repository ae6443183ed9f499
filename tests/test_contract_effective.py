"""Effective weights: those of the model's own parametrizations too, and what cannot act on them."""

from __future__ import annotations

import copy

import pytest
import torch
import torch.nn.functional as F
from by_hand import acting_by_hand, train_by_hand
from torch import nn
from torch.nn.utils import parametrizations, parametrize
from trainings import assembled, assert_same_bits, greatest_difference, stack, trained, trainer, weights
from written_here import Strength, by_path, here

from regplug.errors import CompositionError
from regplug.regularizer import RegularizerFunctions
from regplug.sites import WeightLayer


def network(norm=None):
    """Two layers; `norm` parametrizes the first."""
    torch.manual_seed(0)
    first = nn.Linear(8, 6) if norm is None else norm(nn.Linear(8, 6))
    return nn.Sequential(first, nn.Tanh(), nn.Linear(6, 3))


FIELDS = {"dtype": "float64", "epochs": 2}


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

    return acting_by_hand(reg, layers, scale)


def test_a_penalty_moves_no_buffer_of_a_models_own_spectral_norm():
    model = network(parametrizations.spectral_norm)
    runs = [trained(trainer(model=model, reg=reg, **FIELDS))[0] for reg in ([], ["l2:strength=0"])]
    assert_same_bits(weights(runs[0]), weights(runs[1]))


OWN = {
    "weight_norm": parametrizations.weight_norm,
    "weight_norm of the whole": lambda module: parametrizations.weight_norm(module, dim=None),
    "weight_norm of columns": lambda module: parametrizations.weight_norm(module, dim=1),
    "spectral_norm": parametrizations.spectral_norm,
    "orthogonal": parametrizations.orthogonal,
}


@pytest.mark.parametrize("norm", OWN)
def test_a_model_with_torchs_parametrizations_is_trained_in_a_stack_as_alone(norm):
    fields = {"model": network(OWN[norm]), "reg": ["l2:strength=0.1"], **FIELDS}
    many, _ = trained(stack({}, {"seed": 1}, **fields))
    alone, _ = trained(trainer(seed=1, **fields))
    assert greatest_difference(weights(many, 1), weights(alone), relative=True) < 1e-9


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
