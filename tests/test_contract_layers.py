"""Layers that act in evaluation too, hold parameters or buffers, and see the step."""

from __future__ import annotations

import dataclasses

import pytest
import torch
from by_hand import train_by_hand
from torch import nn
from trainings import _trainer, assembled, assert_same_bits, greatest_difference, stack, trained, trainer, weights
from written_here import FIELDS, Scales, by_path, here, network

from regplug.config.ramps import Ramp
from regplug.errors import PluginError
from regplug.regularization.finding import find_roles
from regplug.regularization.settling import settle
from regplug.regularizer import RegularizerFunctions
from regplug.sites import SiteLayer

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


def test_a_regularizer_that_only_looks_changes_nothing():
    runs = [trained(trainer(reg=reg, model=network(), **FIELDS))[0] for reg in ([], [by_path(Scales, 1.0)])]
    own, scaled = (list(weights(one).values()) for one in runs)
    assert_same_bits(dict(enumerate(own)), dict(enumerate(scaled)))
