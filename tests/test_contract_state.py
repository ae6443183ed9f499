"""State that is taken from the parameters, and decay and projection that leave a weight as it is."""

from __future__ import annotations

import pytest
import torch
from torch import nn
from torch.nn.utils.parametrizations import weight_norm
from trainings import assert_same_bits, stack, trained, trainer, weights
from written_here import here

from regplug.regularizer import EpochEnd, RegularizerFunctions


class KeepsAfterAStep(RegularizerFunctions):
    """Its state is the parameters of the first step, handed back as they are."""

    def init(self, shapes, params, buffers):
        return {name: value.new_zeros(()).expand(value.shape).clone() for name, value in params.items()}

    def after_step(self, step, params):
        return params, dict(params) if step.clock.index == 0 else step.state


class KeepsAfterAnEpoch(KeepsAfterAStep):
    """The same of the first epoch."""

    def after_step(self, step, params):
        return params, step.state

    def after_epoch(self, step, metrics, params, buffers):
        return EpochEnd(params, buffers, dict(params) if step.clock.epoch == 1 else step.state)


class KeepsAtTheGradient(KeepsAfterAStep):
    """The same before the first update."""

    def after_step(self, step, params):
        return params, step.state

    def gradients(self, step, params, grads):
        return grads, dict(params) if step.clock.index == 0 else step.state


FIELDS = {"dtype": "float64", "epochs": 2}


@pytest.mark.parametrize("kept", [KeepsAfterAStep, KeepsAfterAnEpoch, KeepsAtTheGradient])
def test_state_made_of_the_parameters_does_not_follow_them(kept):
    alone = trainer(reg=[here(kept)], **FIELDS)
    many = stack({"seed": 0}, {"seed": 1}, reg=[here(kept)], **FIELDS)
    for made in (alone, many):
        list(made.train())
    for name, value in alone.state.params.items():
        state = alone.state.regularizer[f"{kept.__name__.lower()}/{name}"]
        assert not torch.equal(state, value)
        torch.testing.assert_close(many.state.regularizer[f"{kept.__name__.lower()}/{name}"][0], state)


def normed():
    torch.manual_seed(0)
    return nn.Sequential(weight_norm(nn.Linear(8, 6)), nn.Tanh(), weight_norm(nn.Linear(6, 3)))


class Allows(RegularizerFunctions):
    """Projects each weight to itself, by a new tensor."""

    def project(self, step, name, weight):
        return 1 * weight


@pytest.mark.parametrize("reg", ["weight_decay:strength=0", here(Allows)])
def test_a_weight_that_is_left_as_it_is_keeps_every_bit_of_its_originals(reg):
    plain, kept = (trained(model=normed, reg=regs, **FIELDS)[0] for regs in ([], [reg]))
    assert_same_bits(weights(plain), weights(kept))
