"""Modules in the place of the model's own."""

from __future__ import annotations

import pytest
import torch
from torch import nn
from trainings import assembled, greatest_difference, stack, trained, trainer, weights
from written_here import FIELDS, Scales, here, network

from regplug.errors import CompositionError
from regplug.regularization.settling import settle
from regplug.regularizer import RegularizerFunctions
from regplug.sites import SiteLayer


class Twice(nn.Module):
    """One activation called twice and known under two names."""

    def __init__(self):
        super().__init__()
        self.first, self.second, self.third = nn.Linear(8, 6), nn.Linear(6, 6), nn.Linear(6, 3)
        self.act = self.again = nn.ReLU()

    def forward(self, x):
        return self.third(self.again(self.second(self.act(self.first(x)))))


class Tanhs(RegularizerFunctions):
    """Replaces each activation by a trained one."""

    def restructure(self, model, sites):
        for site in sites.activations():
            if site.call == 0:
                sites.replace(site, Tanh())


class Tanh(nn.Module):
    is_activation = True

    def __init__(self):
        super().__init__()
        self.slope = nn.Parameter(torch.ones(()))

    def forward(self, x):
        return torch.tanh(self.slope * x)


def test_a_module_is_replaced_under_each_of_its_names_and_for_each_of_its_calls():
    original = Twice()
    made = trainer(reg=[here(Tanhs)], model=original, **FIELDS)
    model = made._program.model
    assert isinstance(model.act, Tanh)
    assert model.again is model.act
    list(made.train())
    assert float(model.act.slope.detach()) != 1
    many, _ = trained(stack({}, {"seed": 1}, reg=[here(Tanhs)], model=original, **FIELDS))
    assert greatest_difference(weights(many, 0), weights(made), relative=True) < 1e-9
    assert isinstance(settle(model, {}).again, Tanh)


@pytest.mark.parametrize("order", [[Tanhs, Scales], [Scales, Tanhs]], ids=["replaced first", "wrapped first"])
def test_a_layer_stands_behind_a_module_that_another_regularizer_replaced(order):
    network = Twice()
    made = assembled(reg=[here(one, f"r{number}") for number, one in enumerate(order)], model=network, **FIELDS)
    assert [member.key for member in made.network.regularizer.members] == [f"r{n}" for n in range(2)]
    model = made.network.model.eval()
    assert len(made.network.places[f"r{order.index(Scales)}"]) == 2
    x = made.data.test.x
    key = f"r{order.index(Scales)}"
    plain = settle(model, {key: {"strength": 0.5}})
    first, second, third = plain.first, plain.second, plain.third
    expected = third(0.5 * torch.tanh(second(0.5 * torch.tanh(first(x)))))
    torch.testing.assert_close(plain(x), expected)


class Block(nn.Module):
    """A block of two layers."""

    def __init__(self):
        super().__init__()
        self.linear, self.act = nn.Linear(8, 6), nn.ReLU()

    def forward(self, x):
        return self.act(self.linear(x))


class WholeBlock(RegularizerFunctions):
    """Replaces a block."""

    def restructure(self, model, sites):
        sites.replace(next(site for site in sites if isinstance(site.module, Block)), nn.Linear(8, 6))


class Zebra(Scales):
    """Acts after `wholeblock` in the order of the alphabet."""


def test_a_site_within_a_module_that_was_replaced_is_refused():
    model = nn.Sequential(Block(), nn.Linear(6, 3))
    with pytest.raises(CompositionError, match=r"zebra: 0.act is no longer in the model") as caught:
        assembled(reg=[here(WholeBlock), here(Zebra)], model=model)
    assert "at=" in caught.value.hint


class InPlaceOf(RegularizerFunctions):
    """Puts a layer of the host's kind in the place of an activation."""

    def restructure(self, model, sites):
        sites.replace(sites.activations()[0], ScaledTanh())


class ScaledTanh(SiteLayer):
    def act(self, step, noise, x):
        return torch.tanh(x) * (1 + 0.1 * step.clock.epoch)

    def evaluate(self, settings, x):
        return torch.tanh(x)

    def settled(self, settings):
        return nn.Tanh()


def test_a_layer_in_the_place_of_a_module_settles_into_an_ordinary_one():
    alone, _ = trained(trainer(reg=[here(InPlaceOf)], model=network(), **FIELDS))
    many, _ = trained(stack({}, {"seed": 1}, reg=[here(InPlaceOf)], model=network(), **FIELDS))
    assert greatest_difference(weights(alone), weights(many, 0), relative=True) < 1e-9
    plain = settle(alone._program.model, {})
    assert [type(module) for module in plain] == [nn.Linear, nn.Tanh, nn.Linear, nn.Tanh, nn.Linear]
