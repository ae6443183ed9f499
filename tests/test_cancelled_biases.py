"""Biases that a batch normalization cancels stay out of training; nothing else does."""

from __future__ import annotations

import pytest
import torch
import torch.nn.functional as F
from torch import nn
from trainings import assembled, greatest_difference, stack, trained, trainer, weights

import regplug
from regplug.regularization.cancelled_biases import cancelled_biases


class Residual(nn.Module):
    """The output of `first` goes around the normalization as well."""

    def __init__(self):
        super().__init__()
        self.first, self.norm, self.output = nn.Linear(8, 8), nn.BatchNorm1d(8), nn.Linear(8, 3)

    def forward(self, x):
        y = self.first(x)
        return self.output(torch.tanh(self.norm(y)) + y)


class NormOfItsOwn(nn.Module):
    def __init__(self):
        super().__init__()
        self.first, self.norm, self.output = nn.Linear(8, 8), nn.BatchNorm1d(8), nn.Linear(8, 3)

    def forward(self, x):
        return self.output(torch.tanh(self.norm(self.first(x))))


def after_another(norm):
    return nn.Sequential(nn.Linear(8, 8), norm, nn.BatchNorm1d(8), nn.Tanh(), nn.Linear(8, 3))


@pytest.mark.parametrize(
    ("fields", "expected"),
    [
        ({"reg": ["batchnorm"]}, ("hidden1.bias", "hidden2.bias")),
        ({"reg": []}, ()),
        ({"reg": ["batchnorm", "dropout:at=hidden*"]}, ()),
        ({"reg": ["batchnorm:at=activation1"]}, ()),
        ({"model": Residual()}, ()),
        ({"model": NormOfItsOwn()}, ("first.bias",)),
        ({"model": after_another(nn.LayerNorm(8))}, ("1.bias",)),
        ({"model": after_another(nn.GroupNorm(2, 8))}, ("1.bias",)),
    ],
    ids=[
        "before activations",
        "no normalization",
        "dropout between",
        "behind activations",
        "residual",
        "own",
        "layer norm",
        "group norm",
    ],
)
def test_only_a_bias_directly_before_a_normalization_stays_out_of_training(fields, expected):
    made = assembled(**fields)
    assert made.network.untrained == expected
    assert not set(expected) & set(made.program.params)
    assert set(expected) <= set(made.program.buffers)


def test_a_bias_before_a_frozen_normalization_is_trained():
    class Frozen(NormOfItsOwn):
        def train(self, mode=True):
            super().train(mode)
            self.norm.eval()
            return self

    assert assembled(model=Frozen()).network.untrained == ()


class Between(nn.Module):
    """A linear layer, something, a normalization, and the outputs."""

    def __init__(self, between, norm=None):
        super().__init__()
        self.first, self.norm, self.output = nn.Linear(8, 8), norm or nn.BatchNorm1d(8), nn.Linear(8, 3)
        self.between = between

    def forward(self, x):
        return self.output(self.norm(self.between(self, self.first(x))))


class PerStep(nn.Module):
    """Rows of four steps. The bias has one number for each feature, the subtracted mean one for each step."""

    def __init__(self):
        super().__init__()
        self.first, self.norm, self.output = nn.Linear(2, 2), nn.BatchNorm1d(4), nn.Linear(8, 3)

    def forward(self, x):
        return self.output(self.norm(self.first(x.view(-1, 4, 2))).flatten(1))


class Tied(NormOfItsOwn):
    """Two layers share one bias."""

    def __init__(self):
        super().__init__()
        self.second = nn.Linear(8, 8)
        self.second.bias = self.first.bias

    def forward(self, x):
        return self.output(self.second(torch.tanh(self.norm(self.first(x)))))


def images(norm):
    return nn.Sequential(nn.Unflatten(1, (2, 2, 2)), nn.Conv2d(2, 2, 1), norm, nn.Flatten(), nn.Linear(8, 3))


@pytest.mark.parametrize(
    ("model", "expected"),
    [
        (Between(lambda _, x: x), ["first.bias"]),
        (Between(lambda _, x: torch.relu_(x)), []),
        (Between(lambda _, x: x.mul_(torch.tensor(2.0))), []),
        (Between(lambda net, x: F.dropout(x, 0.5, net.training)), []),
        (Between(lambda net, x: x * net.first.bias), []),
        (Between(lambda net, x: net.first(x)), []),
        (Between(lambda _, x: x, nn.InstanceNorm1d(2)), []),
        (PerStep(), []),
        (Tied(), []),
        (images(nn.InstanceNorm2d(2)), ["1.bias"]),
        (images(nn.GroupNorm(2, 2)), ["1.bias"]),
        (images(nn.GroupNorm(1, 2)), []),
    ],
    ids=[
        "directly",
        "relu in place",
        "another operation in place",
        "functional dropout",
        "bias read elsewhere",
        "layer called twice",
        "instance normalization of rows",
        "linear layer at each step",
        "tied bias",
        "instance normalization of images",
        "one group for each channel",
        "one group",
    ],
)
def test_a_bias_is_cancelled_only_where_it_shifts_nothing_but_the_means_that_are_subtracted(model, expected):
    assert cancelled_biases(model.double().train(), torch.randn(2, 8, dtype=torch.float64)) == expected


@pytest.mark.parametrize("name", ["first.bias", "1.bias"])
def test_a_bias_that_is_cancelled_has_no_effect_in_training(name):
    """The rule against what it claims: moved by one, it leaves the outputs as they are, up to rounding."""
    model = NormOfItsOwn() if name == "first.bias" else after_another(nn.GroupNorm(2, 8))
    x = torch.randn(16, 8, dtype=torch.float64)
    before = model.double().train()(x)
    assert cancelled_biases(model, x) == [name]
    with torch.no_grad():
        model.get_parameter(name).add_(1.0)
    torch.testing.assert_close(model(x), before, rtol=1e-9, atol=1e-12)


def test_the_pass_that_finds_them_leaves_buffers_modes_and_generators_alone():
    model = Between(lambda net, x: F.dropout(x, 0.5, net.training))
    model.output = nn.utils.parametrizations.spectral_norm(model.output)
    model.train()
    buffers, state = {n: t.clone() for n, t in model.named_buffers()}, torch.get_rng_state()
    cancelled_biases(model, torch.randn(2, 8, generator=torch.Generator().manual_seed(0)))
    assert all(torch.equal(value, buffers[name]) for name, value in model.named_buffers())
    assert torch.equal(torch.get_rng_state(), state)
    assert all(module.training for module in model.modules())


def test_a_model_that_cannot_train_on_two_rows_has_no_biases_that_are_known_to_be_cancelled():
    def of_four(_, x):
        return x.view(-1, 4, 8).flatten(0, 1)

    assert cancelled_biases(Between(of_four).train(), torch.randn(2, 8)) == []


@pytest.mark.parametrize("optimizer", ["adam", "adamw", "sgd"])
def test_with_batch_norm_a_run_of_a_stack_is_the_run_alone(optimizer):
    """Float32: rounding noise in such a bias, scaled up by Adam, made them differ by percents of accuracy."""
    common = {"reg": ["batchnorm"], "optimizer": optimizer, "lr": 0.01, "epochs": 10}
    together, _ = trained(stack({"seed": 0}, {"seed": 1}, {"seed": 2}, **common))
    for run in range(3):
        alone, _ = trained(trainer(seed=run, **common))
        assert greatest_difference(weights(alone), weights(together, run)) < 1e-5


def test_the_trained_model_has_biases_that_can_be_trained_again(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    result = regplug.run(model="mlp:hidden=[8]", reg=["batchnorm"], epochs=1, export=False)
    assert all(parameter.requires_grad for parameter in result.model.parameters())


@pytest.mark.parametrize("optimizer", ["adam", "sgd"])
def test_averaged_weights_are_evaluated_with_batch_statistics_of_their_own(optimizer):
    """With the statistics of other weights the last evaluation was three times the loss of what the run ends with."""
    rate = 0.05 if optimizer == "adam" else 1.0
    made = trainer(reg=["batchnorm", "swa:start=0.2"], optimizer=optimizer, lr=rate, epochs=8)
    records = list(made.train())
    during = records[-1].metrics["valid/loss"][0]
    made.finish()
    assert made.evaluate("valid")["valid/loss"][0] == pytest.approx(during, rel=0.1)
    assert torch.isfinite(torch.tensor(during))


def test_an_evaluation_of_averaged_weights_leaves_the_trained_ones_and_their_statistics_alone():
    common = {"reg": ["batchnorm", "swa:start=0.2"], "epochs": 4}
    often, seldom = (trainer(evaluate_every=every, **common) for every in (1, 4))
    for made in (often, seldom):
        list(made.train())
    assert greatest_difference(weights(often), weights(seldom)) == 0
