"""A regularizer that finds nothing to act on is an error in words, never a run without it."""

from __future__ import annotations

import math

import pytest
import torch
from alike import is_changed, learned
from catalogue import COMMON, REGULARIZERS, felt, fields, of, setting
from torch import nn
from trainings import assembled

from regplug.api import Model
from regplug.errors import CompositionError
from regplug.registry import load_target
from regplug.registry.usercode import derive_phases
from regplug.testing import bench


class Scaled(nn.Module):
    """Scales three of the inputs: no module inside, and no weight with two axes."""

    def __init__(self):
        super().__init__()
        self.scale, self.bias = nn.Parameter(torch.linspace(0.5, 1.5, 3)), nn.Parameter(torch.zeros(3))

    def forward(self, x):
        return x.flatten(1)[:, : len(self.scale)] * self.scale + self.bias


class Functional(nn.Module):
    """A hidden layer whose activation is a function: it has weights, and no site of an activation."""

    def __init__(self, features):
        super().__init__()
        self.hidden, self.output = nn.Linear(features, bench.HIDDEN), nn.Linear(bench.HIDDEN, bench.OUTPUTS)

    def forward(self, x):
        return self.output(torch.tanh(self.hidden(x.flatten(1))))


def linear(params, context):
    return nn.Sequential(nn.Flatten(), nn.Linear(_features(context), bench.OUTPUTS))


def functional(params, context):
    return Functional(_features(context))


def scaled(params, context):
    return Scaled()


def _features(context):
    return math.prod(context.input_shape)


BARE = {
    name: Model(name=name, target=f"{__name__}:{name}", summary="Of the test.")
    for name in ("linear", "functional", "scaled")
}


def refused(**run):
    """The error with which a run is refused before it trains, or `None`."""
    try:
        assembled(**run)
    except CompositionError as error:
        return error
    return None


@pytest.mark.slow
@pytest.mark.parametrize("model", BARE)
@pytest.mark.parametrize("name", [name for name in REGULARIZERS if derive_phases(load_target(of(name)))])
def test_a_regularizer_acts_or_is_refused_where_a_model_has_few_places(name, model):
    """Without those that its felt values name as companions, which would give it something to act on."""
    one = REGULARIZERS[name]
    required = fields(name)["reg"][1:] if one.requires else []
    run = {**setting([one]), **COMMON, "model": BARE[model]}
    reg = [felt(name), *required]
    if refusal := refused(**run, reg=reg):
        assert name in refusal.message
        assert refusal.hint
        assert refusal.exit_code == 2
    else:
        assert is_changed(learned(**run, reg=required), learned(**run, reg=reg))
