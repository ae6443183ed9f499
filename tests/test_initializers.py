"""First-party initializers against their formulas, and which layer is filled by which."""

import math

import pytest
import torch
from torch import nn

from regplug.config import RunConfig
from regplug.errors import CompositionError, ParameterError
from regplug.registry import default_registry
from regplug.registry.components import find_components, resolve_config
from regplug.runs.initializing import initialize
from regplug_initializers import (
    ConstantParams,
    GainParams,
    KaimingParams,
    LayerParams,
    NormalParams,
    UniformParams,
    ZerosParams,
)
from regplug_initializers.rules import (
    constant,
    default,
    kaiming_normal,
    kaiming_uniform,
    normal,
    orthogonal,
    uniform,
    xavier_normal,
    xavier_uniform,
    zeros,
)

PLAIN = [(normal, NormalParams), (uniform, UniformParams), (constant, ConstantParams), (zeros, ZerosParams)]
WITH_FANS = [
    (xavier_uniform, GainParams),
    (xavier_normal, GainParams),
    (kaiming_uniform, KaimingParams),
    (kaiming_normal, KaimingParams),
    (orthogonal, GainParams),
]
FILLING = [(rule, params()) for rule, params in (*PLAIN, *WITH_FANS)]
RULES = [(default, LayerParams()), *FILLING]
RANDOM = [(rule, params) for rule, params in FILLING if rule not in (constant, zeros)]


def fill(rule, params, role="weight", shape=(400, 300), seed=0):
    tensor = torch.full(shape, 7.0)
    rule(params, role, tensor, torch.Generator().manual_seed(seed))
    return tensor


@pytest.mark.parametrize(("rule", "params"), FILLING)
def test_biases_become_zero(rule, params):
    assert fill(rule, params, "bias", (5,)).tolist() == [0] * 5


@pytest.mark.parametrize(("rule", "params"), [*PLAIN, *WITH_FANS])
def test_biases_have_a_value_of_their_own_or_torchs(rule, params):
    assert fill(rule, params(bias=0.5), "bias", (5,)).tolist() == [0.5] * 5
    assert fill(rule, params(bias="default"), "bias", (5,)).tolist() == [7] * 5


def test_biases_are_drawn_as_the_weights_are_where_that_is_asked_for():
    drawn = fill(normal, NormalParams(mean=2.0, std=1.0, bias="same"), "bias", (10_000,))
    assert (drawn.mean().item(), drawn.std().item()) == pytest.approx((2, 1), abs=0.05)
    assert fill(uniform, UniformParams(low=3.0, high=4.0, bias="same"), "bias", (9,)).min() >= 3
    assert fill(constant, ConstantParams(value=3.0, bias="same"), "bias", (2,)).tolist() == [3, 3]


@pytest.mark.parametrize(("rule", "params"), RULES)
def test_parameters_of_normalizations_and_activations_stay_as_they_are(rule, params):
    assert fill(rule, params, "norm", (5,)).tolist() == [7] * 5


@pytest.mark.parametrize("role", ["weight", "bias"])
def test_default_leaves_torchs_start(role):
    assert (fill(default, LayerParams(), role) == 7).all()


def test_normal_has_the_mean_and_deviation_asked_for():
    w = fill(normal, NormalParams(mean=1.0, std=0.5))
    assert w.mean().item() == pytest.approx(1, abs=0.01)
    assert w.std().item() == pytest.approx(0.5, rel=0.01)


def test_normal_with_deviation_zero_is_constant():
    assert (fill(normal, NormalParams(mean=0.5, std=0.0)) == 0.5).all()


def test_uniform_fills_what_lies_between_its_ends():
    w = fill(uniform, UniformParams(low=-1.0, high=3.0))
    assert (w.min().item(), w.max().item(), w.mean().item()) == pytest.approx((-1, 3, 1), abs=0.02)


def test_constant_and_zeros_draw_nothing():
    assert (fill(constant, ConstantParams(value=0.3)) == 0.3).all()
    assert (fill(zeros, ZerosParams(bias=1.0)) == 0).all()


@pytest.mark.parametrize("gain", [1.0, 5 / 3])
def test_xavier_has_its_bound_and_its_deviation(gain):
    w = fill(xavier_uniform, GainParams(gain=gain))
    bound = gain * math.sqrt(6 / (300 + 400))
    assert w.abs().max().item() == pytest.approx(bound, rel=1e-3)
    assert w.var().item() == pytest.approx(bound**2 / 3, rel=0.02)
    assert fill(xavier_normal, GainParams(gain=gain)).var().item() == pytest.approx(bound**2 / 3, rel=0.02)


def test_xavier_counts_the_kernels_area_in_a_convolution():
    w = fill(xavier_uniform, GainParams(), shape=(64, 32, 3, 3))
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
def test_kaiming_has_its_bound_and_its_deviation(nonlinearity, gain):
    params = KaimingParams(nonlinearity=nonlinearity)
    assert fill(kaiming_uniform, params).abs().max().item() == pytest.approx(gain * math.sqrt(3 / 300), rel=1e-3)
    assert fill(kaiming_normal, params).std().item() == pytest.approx(gain / math.sqrt(300), rel=0.01)


@pytest.mark.parametrize("shape", [(30, 50), (50, 30), (8, 3, 3, 3)])
def test_orthogonal_keeps_lengths_but_for_its_gain(shape):
    w = fill(orthogonal, GainParams(gain=1.5), shape=shape).flatten(1)
    gram = w @ w.T if len(w) <= w.shape[1] else w.T @ w
    assert torch.allclose(gram, 2.25 * torch.eye(len(gram)), atol=1e-5)


@pytest.mark.parametrize(("rule", "params"), WITH_FANS)
def test_a_weight_without_fans_stays_as_it_is(rule, params):
    assert fill(rule, params(), shape=(5,)).tolist() == [7] * 5


@pytest.mark.parametrize(("rule", "params"), RANDOM)
def test_the_generator_alone_decides(rule, params):
    state = torch.get_rng_state()
    assert torch.equal(fill(rule, params, seed=3), fill(rule, params, seed=3))
    assert not torch.equal(fill(rule, params, seed=3), fill(rule, params, seed=4))
    assert torch.equal(state, torch.get_rng_state())


def inits_of(*texts):
    return find_components(RunConfig(init=texts), default_registry()).inits


def started(*texts):
    """The parameters of a network with two hidden layers and an output, by name; torch's start is 7."""
    model = nn.Sequential()
    for name in ("hidden1", "hidden2", "output"):
        model.add_module(name, nn.Linear(3, 3))
    for param in model.parameters():
        nn.init.constant_(param, 7.0)
    initialize(model, inits_of(*texts), seed=0, rows=torch.ones(2, 3))
    return {name: param[0].flatten()[0].item() for name, param in model.named_parameters()}


def test_without_an_initializer_everything_stays_as_torch_starts_it():
    assert set(started().values()) == {7}


def test_one_rule_fills_all_layers():
    assert set(started("constant:value=2,bias=same").values()) == {2}


def test_globs_fill_their_layers_and_the_other_rule_the_rest():
    both = started("constant:value=2,at=hidden*,bias=same", "constant@other:value=3,bias=1")
    assert both == {
        "hidden1.weight": 2, "hidden1.bias": 2, "hidden2.weight": 2, "hidden2.bias": 2,
        "output.weight": 3, "output.bias": 1,
    }  # fmt: skip
    assert started("zeros:at=output") == dict.fromkeys(both, 7) | {"output.weight": 0, "output.bias": 0}


def test_the_last_of_two_globs_wins_and_default_spares_a_layer():
    assert started("zeros:at=hidden*", "constant:value=2,at=[hidden2,output]")["hidden2.weight"] == 2
    assert started("zeros", "default:at=output")["output.weight"] == 7


@pytest.mark.parametrize(
    ("texts", "told", "hint"),
    [
        (("zeros", "normal"), "zeros and normal both apply to all layers", "--init normal:at=LAYER"),
        (("zeros:at=hiden*",), r"at=hiden\* names no layer", "hidden1, hidden2, output"),
        (("zeros", "normal:at=*"), "zeros has no effect", "Leave it out"),
        (("zeros:at=output", "normal:at=[hidden1,output]"), "zeros has no effect", "Leave it out"),
    ],
)
def test_rules_that_contradict_each_other_are_refused(texts, told, hint):
    with pytest.raises(CompositionError, match=told) as caught:
        started(*texts)
    assert hint in caught.value.hint


def test_a_lower_end_above_the_upper_is_refused():
    with pytest.raises(ParameterError, match=r"low=1.0 is above high=0.05"):
        inits_of("uniform:low=1")


def test_a_run_keeps_all_its_initializers():
    config = RunConfig(init=("kaiming_normal", "normal:std=0.5,at=output"))
    resolved = resolve_config(config, default_registry())
    assert resolved.init == (
        "kaiming_normal:at=[],nonlinearity=relu,bias=0.0",
        "normal:at=output,mean=0.0,std=0.5,bias=0.0",
    )
    assert resolve_config(resolved, default_registry()) == resolved
