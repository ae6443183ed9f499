"""First-party activations: what their descriptors declare is what the modules do."""

import dataclasses

import pytest
import torch

import regplug_activations
from regplug_activations import GELUParams, LeakyReLUParams, elementwise

DESCRIPTORS = {descriptor.name: descriptor for descriptor in regplug_activations.regplug_activations()}
CASES = [(name, descriptor.params()) for name, descriptor in DESCRIPTORS.items()] + [
    ("leaky_relu", LeakyReLUParams(negative_slope=0.3)),
    ("leaky_relu", LeakyReLUParams(negative_slope=0.0)),
    ("gelu", GELUParams(approximate="tanh")),
]


def attribute(target):
    return getattr(elementwise, target.partition(":")[2])


def points(kinks=()):
    x = torch.cat([torch.linspace(-8, 8, 2001, dtype=torch.float64), torch.tensor([-80.0, 80.0], dtype=torch.float64)])
    return x[~torch.isin(x, torch.tensor(kinks, dtype=torch.float64))]


def slope(module, x):
    x = x.clone().requires_grad_()
    return torch.autograd.grad(module(x).sum(), x)[0]


@pytest.mark.parametrize(("name", "params"), CASES)
def test_the_declared_derivative_is_autograds(name, params):
    x = points()
    module = attribute(DESCRIPTORS[name].target)(params)
    derivative = attribute(DESCRIPTORS[name].derivative)(params, x)
    assert derivative.shape == x.shape
    assert derivative.dtype == x.dtype
    assert torch.allclose(derivative, slope(module, x), atol=1e-12)


@pytest.mark.parametrize("name", DESCRIPTORS)
def test_values_stay_in_the_declared_range_and_reach_its_ends(name):
    descriptor = DESCRIPTORS[name]
    y = attribute(descriptor.target)(descriptor.params())(points())
    low, high = descriptor.range
    assert low - 1e-12 <= y.min()
    assert y.max() <= high
    assert y.min().item() == pytest.approx(low, abs=1e-4) if low > -float("inf") else y.min() < -0.5
    assert y.max().item() == pytest.approx(high, abs=1e-4) if high < float("inf") else y.max() > 50


@pytest.mark.parametrize("name", DESCRIPTORS)
def test_the_derivative_jumps_at_the_declared_kinks_and_nowhere_else(name):
    descriptor = DESCRIPTORS[name]
    params = descriptor.params()
    x = torch.linspace(-4, 4, 801, dtype=torch.float64) + 0.005
    derivative = attribute(descriptor.derivative)(params, x)
    jumps = ((derivative[1:] - derivative[:-1]).abs() > 0.1).nonzero().flatten()
    assert x[jumps].tolist() == pytest.approx([kink - 0.005 for kink in descriptor.kinks])


@pytest.mark.parametrize("name", DESCRIPTORS)
def test_each_call_makes_a_module_of_its_own(name):
    make, params = attribute(DESCRIPTORS[name].target), DESCRIPTORS[name].params()
    assert make(params) is not make(params)


def test_parameters_are_frozen():
    with pytest.raises(dataclasses.FrozenInstanceError):
        LeakyReLUParams().negative_slope = 1
