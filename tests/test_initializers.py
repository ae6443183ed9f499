"""First-party initializers against their formulas."""

import math

import pytest
import torch

from regplug.api import NoParams
from regplug_initializers import KaimingUniformParams, NormalParams, XavierUniformParams
from regplug_initializers.rules import default, kaiming_uniform, normal, xavier_uniform

RULES = [
    (default, NoParams()),
    (normal, NormalParams()),
    (xavier_uniform, XavierUniformParams()),
    (kaiming_uniform, KaimingUniformParams()),
]


def fill(rule, params, role="weight", shape=(400, 300), seed=0):
    tensor = torch.full(shape, 7.0)
    rule(params, role, tensor, torch.Generator().manual_seed(seed))
    return tensor


@pytest.mark.parametrize(("rule", "params"), RULES[1:])
def test_biases_become_zero(rule, params):
    assert fill(rule, params, "bias", (5,)).tolist() == [0] * 5


@pytest.mark.parametrize(("rule", "params"), RULES)
def test_normalization_parameters_stay_as_they_are(rule, params):
    assert fill(rule, params, "norm", (5,)).tolist() == [7] * 5


@pytest.mark.parametrize("role", ["weight", "bias"])
def test_default_leaves_torchs_start(role):
    assert (fill(default, NoParams(), role) == 7).all()


def test_normal_has_the_mean_and_deviation_asked_for():
    w = fill(normal, NormalParams(mean=1.0, std=0.5))
    assert w.mean().item() == pytest.approx(1, abs=0.01)
    assert w.std().item() == pytest.approx(0.5, rel=0.01)


def test_normal_with_deviation_zero_is_constant():
    assert (fill(normal, NormalParams(mean=0.5, std=0.0)) == 0.5).all()


@pytest.mark.parametrize("gain", [1.0, 5 / 3])
def test_xavier_fills_its_bound(gain):
    w = fill(xavier_uniform, XavierUniformParams(gain=gain))
    bound = gain * math.sqrt(6 / (300 + 400))
    assert w.abs().max().item() == pytest.approx(bound, rel=1e-3)
    assert w.var().item() == pytest.approx(bound**2 / 3, rel=0.02)


def test_xavier_counts_the_kernels_area_in_a_convolution():
    w = fill(xavier_uniform, XavierUniformParams(), shape=(64, 32, 3, 3))
    assert w.abs().max().item() == pytest.approx(math.sqrt(6 / (9 * (64 + 32))), rel=1e-3)


@pytest.mark.parametrize(
    ("nonlinearity", "gain"),
    [
        ("relu", math.sqrt(2)),
        ("leaky_relu", math.sqrt(2 / (1 + 0.01**2))),
        ("tanh", 5 / 3),
        ("sigmoid", 1),
        ("linear", 1),
    ],
)
def test_kaiming_fills_its_bound(nonlinearity, gain):
    w = fill(kaiming_uniform, KaimingUniformParams(nonlinearity=nonlinearity))
    assert w.abs().max().item() == pytest.approx(gain * math.sqrt(3 / 300), rel=1e-3)


@pytest.mark.parametrize(("rule", "params"), RULES[2:])
def test_a_weight_without_fans_stays_as_it_is(rule, params):
    assert fill(rule, params, shape=(5,)).tolist() == [7] * 5


@pytest.mark.parametrize(("rule", "params"), RULES[1:])
def test_the_generator_alone_decides(rule, params):
    state = torch.get_rng_state()
    assert torch.equal(fill(rule, params, seed=3), fill(rule, params, seed=3))
    assert not torch.equal(fill(rule, params, seed=3), fill(rule, params, seed=4))
    assert torch.equal(state, torch.get_rng_state())
