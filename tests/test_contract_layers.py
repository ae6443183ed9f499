"""Layers that act in evaluation too, hold parameters or buffers, see the step, or replace a module."""

from __future__ import annotations

import dataclasses
from typing import Annotated

import pytest
import torch
from annotated_types import Ge
from torch import nn
from trainings import _trainer, assembled, assert_same_bits, greatest_difference, stack, trained, trainer, weights

from regplug.api import Regularizer, Stackable
from regplug.config.ramps import Ramp
from regplug.errors import CompositionError, PluginError
from regplug.regularization.finding import find_roles
from regplug.regularization.settling import settle
from regplug.regularizer import RegularizerFunctions
from regplug.sites import SiteLayer, Sites


@dataclasses.dataclass(frozen=True)
class Strength:
    strength: Annotated[float, Ge(0), Stackable(off=0)] = 0.5
    "How much."


def here(functions):
    """A regularizer of this file."""
    return Regularizer(name=functions.__name__.lower(), target=f"{__name__}:{functions.__name__}", summary="")


def by_path(functions, strength):
    """The same with a number."""
    return f"{__file__}:{functions.__name__}:strength={strength}"


def network():
    torch.manual_seed(0)
    return nn.Sequential(nn.Linear(8, 6), nn.Tanh(), nn.Linear(6, 6), nn.Tanh(), nn.Linear(6, 3))


FIELDS = {"dtype": "float64", "epochs": 2}


class Scales(RegularizerFunctions):
    """Multiplies each activation with strength, in training and in evaluation."""

    Params = Strength

    def restructure(self, model, sites):
        for site in sites.chosen((), Sites.activations):
            sites.after(site, ScaleLayer())


class ScaleLayer(SiteLayer):
    def act(self, step, noise, x):
        return step.settings["strength"] * x

    def evaluate(self, settings, x):
        return settings["strength"] * x

    def settled(self, settings):
        return Scale(settings["strength"])


class Scale(nn.Module):
    def __init__(self, factor):
        super().__init__()
        assert isinstance(factor, float)
        self.factor = factor

    def forward(self, x):
        return self.factor * x


# Evaluation.


def test_a_layer_acts_in_evaluation_at_each_runs_own_setting():
    strengths = (0.5, 2.0, 1.0)
    many, _ = trained(stack(*({"reg": [by_path(Scales, s)]} for s in strengths), model=network(), **FIELDS))
    outputs = many.outputs("test")
    for run, strength in enumerate(strengths):
        alone, _ = trained(trainer(reg=[by_path(Scales, strength)], model=network(), **FIELDS))
        torch.testing.assert_close(outputs[run], alone.outputs("test"), rtol=1e-9, atol=1e-12)
        assert many.evaluate("test")["test/loss"][run] == pytest.approx(alone.evaluate("test")["test/loss"][0])
        plain = settle(alone._program.model, {"Scales": {"strength": strength}}).eval()
        x = assembled(**FIELDS).data.test.x
        assert torch.equal(plain(x).detach(), alone.outputs("test"))
        assert [type(module).__name__ for module in plain[1]] == ["Tanh", "Scale"]


def test_a_layer_acts_in_evaluation_at_the_setting_of_the_step():
    one = assembled(reg=[by_path(Scales, 2.0)], model=network(), lr=0.0, **FIELDS)
    ramp = {"Scales": {"strength": Ramp(2.0, 1.0)}}
    made = _trainer([dataclasses.replace(one, inputs=dataclasses.replace(one.inputs, settings=ramp))], stacked=False)
    steps, x, plain = made.train(), one.data.test.x, network().double()
    for strength in (2 - 3 / 7, 1.0):
        next(steps)
        hidden = strength * torch.tanh(plain[2](strength * torch.tanh(plain[0](x))))
        torch.testing.assert_close(made.outputs("test"), plain[4](hidden).detach())


def test_a_layer_that_acts_in_evaluation_exports_and_verifies(place):
    result = place.run(reg=[by_path(Scales, 0.5)], model=network(), export=True, format=["torchscript"], out="bundle")
    assert result.verification.passed
    assert [type(module).__name__ for module in result.model[1]] == ["Tanh", "Scale"]


class Unsettled(Scales):
    """Acts in evaluation and does not say what stays of it."""

    def restructure(self, model, sites):
        sites.after(sites.activations()[0], UnsettledLayer())


class UnsettledLayer(SiteLayer):
    def act(self, step, noise, x):
        return x

    def evaluate(self, settings, x):
        return 2 * x


def test_a_layer_that_acts_in_evaluation_must_say_what_it_settles_into():
    with pytest.raises(PluginError, match="unsettled: UnsettledLayer acts in evaluation") as caught:
        assembled(reg=[here(Unsettled)])
    assert "settled(settings)" in caught.value.hint


# Parameters, buffers and the step.


class Learns(RegularizerFunctions):
    """Multiplies each activation with a trained factor for each unit."""

    def restructure(self, model, sites):
        for site in sites.activations():
            sites.after(site, FactorLayer(site.output_shape[1]))


class FactorLayer(SiteLayer):
    def __init__(self, units):
        super().__init__()
        self.factor = nn.Parameter(torch.ones(units, 1))

    def act(self, step, noise, x):
        return x * self.factor[:, 0]

    def evaluate(self, settings, x):
        return x * self.factor[:, 0]

    def settled(self, settings):
        return Factor(self.factor)


class Factor(nn.Module):
    def __init__(self, factor):
        super().__init__()
        self.factor = factor

    def forward(self, x):
        return x * self.factor[:, 0]


def test_the_parameters_of_a_layer_are_trained_spared_by_penalties_and_kept():
    model = network()
    made = trainer(reg=[here(Learns), "l2:strength=0.1"], model=model, **FIELDS)
    names = [name for name in made.state.params if name.endswith("factor")]
    assert len(names) == 2
    assert {made._program.roles[name] for name in names} == {"auxiliary"}
    list(made.train())
    by_hand = nn.Sequential(
        *network()[:2], Factor(nn.Parameter(torch.ones(6, 1))), *network()[2:4], Factor(nn.Parameter(torch.ones(6, 1)))
    ).append(network()[4])
    _train_with_l2(by_hand.double(), assembled(model=model, **FIELDS))
    for got, expected in zip(made.tensors_of(0)[0].values(), by_hand.parameters(), strict=True):
        torch.testing.assert_close(got.detach(), expected.detach(), rtol=1e-9, atol=1e-12)
    x = assembled(**FIELDS).data.test.x
    torch.testing.assert_close(made.outputs("test"), by_hand(x).detach())
    torch.testing.assert_close(settle(made._program.model, {}).eval()(x), by_hand(x))


def _train_with_l2(model, made):
    from by_hand import train_by_hand

    matrices = [module.weight for module in model if isinstance(module, nn.Linear)]
    train_by_hand(
        model,
        made,
        loss=lambda logits, y: (
            nn.functional.cross_entropy(logits, y) + 0.05 * sum(weight.square().sum() for weight in matrices)
        ),
    )


class Plain(RegularizerFunctions):
    """Puts ordinary modules in."""

    def restructure(self, model, sites):
        sites.before(sites.activations()[0], nn.LayerNorm(6))
        sites.after(sites.activations()[0], nn.Linear(6, 6))


def test_an_ordinary_module_that_was_put_in_keeps_the_roles_of_its_parameters():
    roles = find_roles(assembled(reg=[here(Plain)], model=network()).network.model)
    assert [roles[name] for name in roles if "before" in name] == ["norm", "norm"]
    assert [roles[name] for name in roles if "after" in name] == ["weight", "bias"]


class Centres(RegularizerFunctions):
    """Subtracts a running mean that its layer keeps, and runs the model once more in each step."""

    def restructure(self, model, sites):
        for site in sites.activations():
            sites.after(site, CentreLayer(site.output_shape[1]))

    def penalty(self, step, weights, outputs):
        return 0.01 * step.gradient(lambda x: step.run(x=x).logits.sum(), step.batch.x).square().mean()


class CentreLayer(SiteLayer):
    def __init__(self, units):
        super().__init__()
        self.register_buffer("mean", torch.zeros(units))
        self.register_buffer("count", torch.zeros((), dtype=torch.int64))

    def act(self, step, noise, x):
        mean = 0.9 * self.mean + 0.1 * x.mean(0)
        return x - mean, {"mean": mean, "count": self.count + 1}

    def evaluate(self, settings, x):
        return x - self.mean

    def settled(self, settings):
        return Centre(self.mean)


class Centre(nn.Module):
    def __init__(self, mean):
        super().__init__()
        self.register_buffer("mean", mean)

    def forward(self, x):
        return x - self.mean


def test_the_buffers_of_a_layer_move_once_a_step_however_often_the_model_runs():
    alone, _ = trained(trainer(reg=[here(Centres)], model=network(), **FIELDS))
    many, _ = trained(stack({}, {"seed": 1}, reg=[here(Centres)], model=network(), **FIELDS))
    assert [int(value) for name, value in weights(alone).items() if name.endswith("count")] == [8, 8]
    assert greatest_difference(weights(alone), weights(many, 0), relative=True) < 1e-9
    expected = alone.outputs("test")
    plain = settle(alone._program.model, {}).eval()
    assert torch.equal(plain(assembled(**FIELDS).data.test.x).detach(), expected)


class SeesTheStep(RegularizerFunctions):
    """Scales the activations by what the state, the batch and the clock say."""

    def restructure(self, model, sites):
        for site in sites.activations():
            sites.after(site, SeesTheStepLayer())

    def init(self, shapes, params, buffers):
        return {"scale": next(iter(params.values())).new_ones(())}

    def after_step(self, step, params):
        return params, {"scale": 0.9 * step.state["scale"]}


class SeesTheStepLayer(SiteLayer):
    def act(self, step, noise, x):
        share = (step.batch.labels == 0).to(x.dtype)[:, None]
        return step.state["scale"] * x * (1 + share * step.clock.epoch)


class ByClock(RegularizerFunctions):
    """The same by the clock and the penalty's view of the labels."""

    def restructure(self, model, sites):
        for site in sites.activations():
            sites.after(site, ByClockLayer())


class ByClockLayer(SiteLayer):
    def act(self, step, noise, x):
        return 0.9**step.clock.index * torch.where(step.batch.labels[:, None] == 0, (1 + step.clock.epoch) * x, x)


def test_a_layer_sees_state_batch_and_clock():
    runs = [trained(trainer(reg=[here(one)], model=network(), **FIELDS))[0] for one in (SeesTheStep, ByClock)]
    many, _ = trained(stack({}, {"seed": 1}, reg=[here(SeesTheStep)], model=network(), **FIELDS))
    assert greatest_difference(weights(runs[0]), weights(runs[1]), relative=True) < 1e-9
    assert greatest_difference(weights(runs[0]), weights(many, 0), relative=True) < 1e-9


# Replacing.


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
    made = trainer(reg=[here(Tanhs)], model=Twice(), **FIELDS)
    model = made._program.model
    assert isinstance(model.act, Tanh)
    assert model.again is model.act
    list(made.train())
    assert float(model.act.slope.detach()) != 1
    assert isinstance(settle(model, {}).again, Tanh)


@pytest.mark.parametrize("order", [[Tanhs, Scales], [Scales, Tanhs]], ids=["replaced first", "wrapped first"])
def test_a_layer_stands_behind_a_module_that_another_regularizer_replaced(order):
    network = Twice()
    made = assembled(reg=[_in_order(one, number) for number, one in enumerate(order)], model=network, **FIELDS)
    assert [member.key for member in made.network.regularizer.members] == [f"r{n}" for n in range(2)]
    model = made.network.model.eval()
    assert len(made.network.places[f"r{order.index(Scales)}"]) == 2
    x = made.data.test.x
    key = f"r{order.index(Scales)}"
    plain = settle(model, {key: {"strength": 0.5}})
    first, second, third = plain.first, plain.second, plain.third
    expected = third(0.5 * torch.tanh(second(0.5 * torch.tanh(first(x)))))
    torch.testing.assert_close(plain(x), expected)


def _in_order(functions, number):
    return Regularizer(
        name=f"r{number}",
        target=f"{__name__}:{functions.__name__}",
        summary="",
        params=getattr(functions, "Params", None) or dataclasses.make_dataclass("Nothing", [], frozen=True),
    )


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


def test_a_regularizer_that_only_looks_changes_nothing():
    runs = [trained(trainer(reg=reg, model=network(), **FIELDS))[0] for reg in ([], [by_path(Scales, 1.0)])]
    own, scaled = (list(weights(one).values()) for one in runs)
    assert_same_bits(dict(enumerate(own)), dict(enumerate(scaled)))
