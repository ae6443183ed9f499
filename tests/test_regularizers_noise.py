"""Noise on activations, weights and branches against torch, torchvision and the papers' equations."""

from __future__ import annotations

import functools
import math

import pytest
import torch
from torch import nn
from trainings import assembled, toy, trained, trainer, weights

from regplug.errors import CompositionError
from regplug.noise import keep_mask
from regplug_regularizers.noise.alpha_dropout import alpha_dropout
from regplug_regularizers.noise.dropblock import dropblock
from regplug_regularizers.noise.dropout import dropout
from regplug_regularizers.noise.dropout_scratch import dropout_layer
from regplug_regularizers.noise.gaussian_dropout import gaussian_dropout
from regplug_regularizers.noise.shake_drop import shake_drop

COUNT = 200_000
IMAGES = {"model": "cnn", "dataset": (torch.randn(40, 1, 12, 12), torch.arange(40) % 3), "batch_size": 20, "epochs": 1}
RESIDUAL = "residual_mlp:width=8,blocks=2"


def generator(seed=0):
    return torch.Generator().manual_seed(seed)


def random_bits(shape, seed=0):
    return torch.randint(-32768, 32768, shape, generator=generator(seed), dtype=torch.int16)


def normal(*shape, seed=1):
    return torch.randn(shape, generator=generator(seed), dtype=torch.float64)


def number(value):
    return torch.tensor(value, dtype=torch.float64)


@pytest.mark.parametrize("p", [0.1, 0.5, 0.9])
def test_the_textbooks_dropout_keeps_the_mean_and_has_entries_zero_or_x_over_one_minus_p(p):
    x, u = normal(COUNT) + 2, torch.rand(COUNT, generator=generator(), dtype=torch.float64)
    y = dropout_layer(x, u, number(p))
    assert torch.equal(y == 0, u < p)
    torch.testing.assert_close(y[y != 0], (x / (1 - p))[y != 0])
    assert abs((y - x).mean()) < 5 * math.sqrt(p / (1 - p) * float(x.square().mean()) / COUNT)


@pytest.mark.parametrize("p", [0.05, 0.25, 0.5])
def test_alpha_dropout_keeps_mean_zero_and_variance_one(p):
    y = alpha_dropout(normal(COUNT), random_bits((COUNT,)), number(p))
    assert abs(y.mean()) < 5 / math.sqrt(COUNT)
    assert float(y.var()) == pytest.approx(1, abs=0.03)


def test_alpha_dropout_is_torchs_with_the_same_mask():
    """torch draws the mask itself, so the two values that an entry of 0 and of 1 can get are compared."""
    x = torch.tensor([0.0, 1.0], dtype=torch.float64).repeat_interleave(500)
    ours = alpha_dropout(x, random_bits((1000,)), number(0.25))
    with torch.random.fork_rng():
        torchs = nn.functional.alpha_dropout(x, 0.25, training=True)
    for value in (0.0, 1.0):
        expected, got = torchs[x == value].unique(), ours[x == value].unique()
        torch.testing.assert_close(got, expected)


def test_alpha_dropout_asks_for_selu():
    with pytest.raises(CompositionError, match=r"activation1 is no nn\.SELU") as caught:
        assembled(reg=["alpha_dropout"])
    assert "--activation selu" in caught.value.hint
    model = nn.Sequential(nn.Linear(8, 6), nn.SELU(), nn.Linear(6, 3))
    assert assembled(model=model, reg=["alpha_dropout"]).network.notices == ()


@pytest.mark.parametrize("p", [0.1, 0.5, 0.8])
def test_gaussian_dropout_has_the_mean_and_the_variance_of_dropout(p):
    ones, variance = torch.ones(COUNT, dtype=torch.float64), p / (1 - p)
    y = gaussian_dropout(ones, normal(COUNT), number(p))
    assert abs(y.mean() - 1) < 5 * math.sqrt(variance / COUNT)
    assert float(y.var()) == pytest.approx(variance, rel=0.02)
    assert float(dropout(ones, random_bits((COUNT,)), number(p)).var()) == pytest.approx(variance, rel=0.02)


def test_spatial_dropout_drops_whole_maps_and_is_torchs_dropout2d_in_inference():
    made = assembled(**IMAGES, reg=["spatial_dropout:drop_probability=0.5"])
    assert [place.key for place in made.network.places["spatial_dropout"]] == ["activation1#0", "activation2#0"]
    layer = next(m for m in made.network.model.modules() if type(m).__name__ == "SpatialDropoutLayer")
    assert isinstance(layer.in_inference(made.components.regs[0].params), nn.Dropout2d)
    noise = _first_noise(**IMAGES, reg=["spatial_dropout:drop_probability=0.5"])
    assert noise["spatial_dropout"]["activation1#0"].shape == (20, 32, 1, 1)
    x = torch.ones(20, 32, 4, 4)
    y = dropout(x, noise["spatial_dropout"]["activation1#0"], torch.tensor(0.5))
    assert set(y.flatten(2).std(-1).unique().tolist()) == {0.0}
    assert set(y.unique().tolist()) == {0.0, 2.0}


def _first_noise(**fields):
    return next(trainer(**fields)._feed.epoch(0)).noise


def test_spatial_dropout_of_rows_is_refused_with_what_to_do():
    with pytest.raises(CompositionError, match="spatial_dropout is for image inputs"):
        assembled(reg=["spatial_dropout"])
    with pytest.raises(CompositionError, match="no feature maps to drop") as caught:
        assembled(**IMAGES, reg=["spatial_dropout:at=activation3"])
    assert "dropout" in caught.value.hint


@pytest.mark.parametrize("block", [1, 2, 3, 5])
def test_dropblock_is_the_papers_algorithm(block):
    x, p = normal(3, 2, 6, 5), 0.3
    u = torch.rand((3, 2, 7 - block, 6 - block), generator=generator(), dtype=torch.float64)
    gamma = p / block**2 * 30 / ((7 - block) * (6 - block))
    mask = torch.ones_like(x)
    for b, c, s, t in (u < gamma).nonzero().tolist():
        mask[b, c, s : s + block, t : t + block] = 0
    expected = x * mask * mask.numel() / mask.sum()
    torch.testing.assert_close(dropblock(x, u, number(p), block), expected)
    assert 0.1 < float((mask == 0).double().mean()) < 0.5


def test_a_block_is_at_most_as_large_as_the_feature_map():
    made = assembled(**IMAGES, reg=["dropblock:block_size=7"])
    sizes = [m.block_size for m in made.network.model.modules() if type(m).__name__ == "DropBlockLayer"]
    assert sizes == [7, 3]


def test_weight_noise_adds_what_it_drew():
    fields = {"reg": ["weight_noise:std=0.3,at=output"], "epochs": 1, "dtype": "float64"}
    made = trainer(**fields)
    noise = _first_noise(**fields)
    program, seen = made._program, []
    program.model.output.register_forward_hook(lambda module, args, output: seen.append((args[0], output)))
    next(iter(made.train()))
    start = assembled(**fields).inputs.params
    weight = start["output.parametrizations.weight.original"] + 0.3 * noise["weight_noise"]["output.weight"]
    given, output = seen[0]
    torch.testing.assert_close(output, nn.functional.linear(given, weight, start["output.bias"]))


def test_one_strength_for_each_weight_and_a_wrong_number_of_them_is_refused():
    assembled(reg=["weight_noise:std=[0.1,0.2,0.3]"])
    with pytest.raises(CompositionError, match=r"weight_noise: std has 2 numbers for 3 places \(hidden1#0"):
        assembled(reg=["weight_noise:std=[0.1,0.2]"])


# Branches.


def test_stochastic_depth_drops_rows_of_a_branch_by_linear_decay_as_torchvision_scales_them():
    made = assembled(model=RESIDUAL, reg=["stochastic_depth:drop_probability=0.4"])
    depths = [m.depth for m in made.network.model.modules() if type(m).__name__ == "StochasticDepthLayer"]
    assert depths == [0.5, 1.0]
    noise = _first_noise(model=RESIDUAL, reg=["stochastic_depth:drop_probability=0.4"])
    bits = noise["stochastic_depth"]["block2.branch#0"]
    assert bits.shape == (32,)
    seen = _branch_outputs("stochastic_depth:drop_probability=0.4")
    for name, p in (("block1", 0.2), ("block2", 0.4)):
        own, mask = seen[name], keep_mask(noise["stochastic_depth"][f"{name}.branch#0"], torch.tensor(p))[0]
        expected = own["before"] * (mask / (1 - p))[:, None]
        torch.testing.assert_close(own["after"], expected, rtol=1e-4, atol=1e-6)


def _branch_outputs(reg):
    """What each branch returns at the first step, before and after the layer behind it."""
    made, seen = trainer(model=RESIDUAL, reg=[reg], epochs=1), {}
    for name in ("block1", "block2"):
        branch, own = made._program.model.get_submodule(name).branch, seen.setdefault(name, {})
        branch.module.register_forward_hook(functools.partial(_keep, own, "before"))
        branch.register_forward_hook(functools.partial(_keep, own, "after"))
    next(iter(made.train()))
    return seen


def _keep(own, when, module, args, output):
    own.setdefault(when, output.detach())


def test_stochastic_depth_for_the_batch_draws_one_number():
    noise = _first_noise(model=RESIDUAL, reg=["stochastic_depth:mode=batch"])
    assert noise["stochastic_depth"]["block1.branch#0"].shape == (1,)


@pytest.mark.parametrize("name", ["stochastic_depth", "shake_drop"])
def test_a_network_without_branches_is_refused_and_a_plus_in_forward_is_explained(name):
    with pytest.raises(CompositionError, match="no module declares that it is the branch") as caught:
        assembled(reg=[name])
    assert "A `+` inside forward has no site" in caught.value.hint


def test_shake_drop_has_the_mean_of_a_kept_branch_and_another_factor_backward():
    x = torch.ones(COUNT, 1, dtype=torch.float64, requires_grad=True)
    u = torch.rand((COUNT, 3), generator=generator(), dtype=torch.float64)
    y = shake_drop(x, u, number(0.7))
    y.sum().backward()
    y = y.detach()
    kept, alpha, beta = (u[:, 0] < 0.7).double(), 2 * u[:, 1] - 1, u[:, 2]
    torch.testing.assert_close(y[:, 0], kept + alpha - kept * alpha)
    torch.testing.assert_close(x.grad[:, 0], kept + beta - kept * beta)
    assert abs(y.mean() - 0.7) < 5 * float(y.std()) / math.sqrt(COUNT)


@pytest.mark.parametrize("reg", ["stochastic_depth", "shake_drop"])
def test_a_residual_network_trains_with_its_branches_shaken(reg):
    made, _ = trained(trainer(model=RESIDUAL, reg=[reg]))
    plain, _ = trained(trainer(model=RESIDUAL))
    assert not torch.equal(weights(made)["output.weight"], weights(plain)["output.weight"])


def test_noise_before_a_batch_normalization_is_doubted():
    model = nn.Sequential(nn.Linear(8, 6), nn.ReLU(), nn.Linear(6, 6), nn.BatchNorm1d(6), nn.ReLU(), nn.Linear(6, 3))
    for name in ("dropout", "dropout_scratch", "gaussian_dropout"):
        notices = assembled(model=model, reg=[name], dataset=toy()).network.notices
        assert f"{name} stands before a batch normalization" in notices[0].message
