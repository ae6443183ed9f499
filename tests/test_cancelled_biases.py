"""Biases that a batch normalization cancels stay out of training; nothing else does."""

from __future__ import annotations

import pytest
import torch
from torch import nn
from trainings import assembled, greatest_difference, stack, trained, trainer, weights

import regplug


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
