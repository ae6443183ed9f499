"""First-party activations: what their descriptors declare is what the modules do."""

import dataclasses

import pytest
import torch

import regplug_activations
from regplug.regularization.finding import find_roles
from regplug_activations import (
    ELUParams,
    GELUParams,
    LeakyReLUParams,
    PReLUParams,
    SoftplusParams,
    elementwise,
    scratch,
)

DESCRIPTORS = {descriptor.name: descriptor for descriptor in regplug_activations.regplug_activations()}
CASES = [(name, descriptor.params()) for name, descriptor in DESCRIPTORS.items()] + [
    ("leaky_relu", LeakyReLUParams(negative_slope=0.3)),
    ("leaky_relu", LeakyReLUParams(negative_slope=0.0)),
    ("gelu", GELUParams(approximate="tanh")),
    ("prelu", PReLUParams(negative_slope=-0.5)),
    ("elu", ELUParams(alpha=0.4)),
    ("celu", ELUParams(alpha=2.5)),
    ("softplus", SoftplusParams(beta=3.0)),
]
PIECEWISE = ["relu", "leaky_relu", "prelu", "selu", "hardswish", "hardtanh"]
SMOOTH = ["elu", "celu", "gelu", "silu", "mish", "softplus", "identity"]
BOUNDED = ["sigmoid", "scaled_sigmoid", "tanh", "softsign"]
SCRATCH = ["relu_scratch", "sigmoid_scratch", "tanh_scratch"]
TORCH = {
    "relu_scratch": torch.relu,
    "sigmoid_scratch": torch.sigmoid,
    "tanh_scratch": torch.tanh,
    "scaled_sigmoid": lambda x: 4 * torch.sigmoid(x) - 2,
}
DOUBLE = torch.float64


def attribute(target):
    module, _, name = target.partition(":")
    return getattr({"elementwise": elementwise, "scratch": scratch}[module.rpartition(".")[2]], name)


def made(name, params=None):
    descriptor = DESCRIPTORS[name]
    return attribute(descriptor.target)(params or descriptor.params()).double()


def points():
    return torch.cat([torch.linspace(-8, 8, 2001, dtype=DOUBLE), torch.tensor([-80.0, 80.0], dtype=DOUBLE)])


def slope(module, x):
    x = x.clone().requires_grad_()
    return torch.autograd.grad(module(x).sum(), x)[0]


@pytest.mark.parametrize(("name", "params"), CASES)
def test_the_declared_derivative_is_autograds(name, params):
    x = points()
    module = made(name, params)
    derivative = attribute(DESCRIPTORS[name].derivative)(params, x)
    assert derivative.shape == x.shape
    assert derivative.dtype == x.dtype
    assert torch.allclose(derivative, slope(module, x), atol=1e-12)


@pytest.mark.parametrize("name", DESCRIPTORS)
def test_values_stay_in_the_declared_range_and_reach_its_ends(name):
    descriptor = DESCRIPTORS[name]
    y = made(name)(torch.cat([points(), torch.tensor([-1e5, 1e5], dtype=DOUBLE)])).detach()
    low, high = descriptor.range
    assert low - 1e-12 <= y.min()
    assert y.max() <= high
    assert y.min().item() == pytest.approx(low, abs=1e-4) if low > -float("inf") else y.min() < -0.5
    assert y.max().item() == pytest.approx(high, abs=1e-4) if high < float("inf") else y.max() > 1e4


@pytest.mark.parametrize("name", DESCRIPTORS)
def test_the_derivative_jumps_at_the_declared_kinks_and_nowhere_else(name):
    descriptor = DESCRIPTORS[name]
    params = descriptor.params()
    x = torch.linspace(-4, 4, 801, dtype=torch.float64) + 0.005
    derivative = attribute(descriptor.derivative)(params, x)
    jumps = ((derivative[1:] - derivative[:-1]).abs() > 0.1).nonzero().flatten()
    assert x[jumps].tolist() == pytest.approx([kink - 0.005 for kink in descriptor.kinks])


def test_the_gains_of_relu_leaky_relu_and_identity_are_torchs():
    gain = torch.nn.init.calculate_gain
    declared = {name: DESCRIPTORS[name].gain for name in ("relu", "leaky_relu", "identity")}
    assert declared == pytest.approx({"relu": gain("relu"), "leaky_relu": gain("leaky_relu"), "identity": 1})


def test_every_activation_of_the_list_declares_all_that_it_can():
    assert sorted(DESCRIPTORS) == sorted([*PIECEWISE, *SMOOTH, *BOUNDED, *SCRATCH])
    for descriptor in DESCRIPTORS.values():
        assert descriptor.derivative
        assert descriptor.range is not None
        assert descriptor.gain is not None


@pytest.mark.parametrize("name", TORCH)
def test_what_is_written_by_hand_is_torchs_over_minus_ten_to_ten(name):
    x = torch.linspace(-10, 10, 4001, requires_grad=True)
    ours, theirs = made(name).float()(x), TORCH[name](x)
    assert torch.allclose(ours, theirs, atol=1e-4)
    slopes = [torch.autograd.grad(y.sum(), x)[0] for y in (ours, theirs)]
    by_hand = attribute(DESCRIPTORS[name].derivative)(DESCRIPTORS[name].params(), x.detach())
    assert torch.allclose(slopes[0], slopes[1], atol=1e-4)
    assert torch.allclose(by_hand, slopes[1], atol=1e-4)


@pytest.mark.parametrize("name", SCRATCH)
def test_what_is_written_by_hand_keeps_infinity_and_nan_as_torch_does(name):
    x = torch.tensor([float("-inf"), -1e4, -90, 90, 1e4, float("inf"), float("nan")])
    assert torch.allclose(made(name).float()(x), TORCH[name](x), equal_nan=True)


@pytest.mark.parametrize(("name", "params"), CASES)
def test_gradients_are_those_of_finite_differences(name, params):
    x = torch.linspace(-6, 6, 25, dtype=DOUBLE) + 0.123
    assert torch.autograd.gradcheck(made(name, params), x.requires_grad_())


def test_the_slope_that_prelu_trains_is_no_weight():
    model = torch.nn.Sequential(torch.nn.Linear(2, 3), made("prelu"))
    assert find_roles(model) == {"0.weight": "weight", "0.bias": "bias", "1.weight": "norm"}


@pytest.mark.parametrize("name", DESCRIPTORS)
def test_each_call_makes_a_module_of_its_own(name):
    make, params = attribute(DESCRIPTORS[name].target), DESCRIPTORS[name].params()
    assert make(params) is not make(params)


def test_parameters_are_frozen():
    with pytest.raises(dataclasses.FrozenInstanceError):
        LeakyReLUParams().negative_slope = 1


@pytest.mark.slow
def test_a_network_of_all_activations_is_trained_exported_and_proven(place):
    def network():
        parts = [(torch.nn.Linear(4, 4), made(name).float()) for name in DESCRIPTORS]
        return torch.nn.Sequential(*(part for pair in parts for part in pair), torch.nn.Linear(4, 2))

    result = place.run(dataset=(torch.randn(60, 4), torch.arange(60) % 2), model=network, epochs=1, export=True)
    assert result.verification.passed


@pytest.mark.parametrize("name", DESCRIPTORS)
def test_a_stack_of_runs_gets_what_each_run_gets_alone(name):
    module, x = made(name), torch.randn(3, 5, dtype=DOUBLE)
    params = {key: torch.stack([value, 2 * value, -value]) for key, value in module.named_parameters()}

    def slopes(own, rows):
        return torch.func.grad(lambda *given: torch.func.functional_call(module, *given).sum(), argnums=(0, 1))(
            own, rows
        )

    stacked = torch.func.vmap(slopes)(params, x)
    for run in range(3):
        alone = slopes({key: value[run] for key, value in params.items()}, x[run])
        torch.testing.assert_close(alone, (({key: value[run] for key, value in stacked[0].items()}), stacked[1][run]))
