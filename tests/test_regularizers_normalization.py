"""Normalizations against torch's layers, the papers' equations and each other."""

from __future__ import annotations

import pytest
import torch
import torch.nn.functional as F
from torch import nn
from trainings import assembled, assert_same_bits, greatest_difference, stack, toy, trained, trainer, weights

from regplug.errors import CompositionError
from regplug_regularizers.normalization.batchnorm import GhostBatchNorm
from regplug_regularizers.normalization.batchnorm_scratch import BatchNormScratchLayer
from regplug_regularizers.normalization.spectral_norm import power_iteration
from regplug_regularizers.normalization.weight_standardization import standardized

IMAGES = {"model": "cnn", "dataset": (torch.randn(40, 1, 12, 12), torch.arange(40) % 3), "batch_size": 20, "epochs": 1}


def normal(*shape, seed=1):
    return torch.randn(shape, generator=torch.Generator().manual_seed(seed), dtype=torch.float64)


@pytest.mark.parametrize("shape", [(7, 4), (7, 4, 5), (6, 4, 3, 3)])
def test_the_scratch_batchnorm_is_torchs_in_outputs_gradients_and_running_statistics(shape):
    kind = {2: nn.BatchNorm1d, 3: nn.BatchNorm1d, 4: nn.BatchNorm2d}[len(shape)]
    ours, torchs = BatchNormScratchLayer(4, momentum=0.3).double(), kind(4, momentum=0.3).double()
    for step in range(3):
        outputs = []
        for layer in (ours, torchs):
            x = (2 * normal(*shape, seed=step) + 1).requires_grad_()
            y = layer(x)
            (y.square() * normal(*shape, seed=9)).sum().backward()
            outputs.append([y, x.grad, layer.weight.grad.clone(), layer.bias.grad.clone()])
        for own, other in zip(*outputs, strict=True):
            torch.testing.assert_close(own, other, rtol=1e-9, atol=1e-9)
        for name, value in torchs.named_buffers():
            torch.testing.assert_close(ours.get_buffer(name), value, rtol=1e-12, atol=1e-12)
    x = normal(*shape)
    torch.testing.assert_close(ours.eval()(x), torchs.eval()(x))


def test_a_run_with_the_scratch_batchnorm_is_one_with_torchs():
    runs = [trained(trainer(reg=[name], dtype="float64"))[0] for name in ("batchnorm", "batchnorm_scratch")]
    assert greatest_difference(*(weights(run) for run in runs), relative=True) < 1e-9


def test_a_run_with_the_scratch_batchnorm_and_swa_recomputes_its_statistics():
    runs = [trained(trainer(reg=[name, "swa:start=0.1"], dtype="float64"))[0] for name in
            ("batchnorm", "batchnorm_scratch")]  # fmt: skip
    assert greatest_difference(*(weights(run) for run in runs), relative=True) < 1e-9


def test_ghost_batches_are_parts_of_the_batch_one_by_one():
    """Ten rows in parts of four: four, then six; running statistics after both parts."""
    ours, torchs = GhostBatchNorm(3, rows=4, eps=1e-5, momentum=0.1).double(), nn.BatchNorm1d(3).double()
    x = normal(10, 3)
    torch.testing.assert_close(ours(x), torch.cat([torchs(x[:4]), torchs(x[4:])]))
    torch.testing.assert_close(ours.running_var, torchs.running_var)
    torch.testing.assert_close(ours.eval()(x), torchs.eval()(x))
    short = x[:3]
    torch.testing.assert_close(ours.train()(short), torchs.train()(short))


def test_ghost_batches_of_a_stack_are_those_of_a_run_alone_and_as_large_as_the_batch_they_change_nothing():
    runs = [{"seed": seed} for seed in range(2)]
    common = {"reg": ["batchnorm:ghost=8"], "dtype": "float64"}
    together, _ = trained(stack(*runs, **common))
    alone, _ = trained(trainer(**common, seed=1))
    assert greatest_difference(weights(together, 1), weights(alone), relative=True) < 1e-9
    whole, plain = (weights(trained(trainer(reg=[reg]))[0]) for reg in ("batchnorm:ghost=32", "batchnorm"))
    assert_same_bits(whole, plain)
    assert not torch.equal(weights(alone)["output.weight"], plain["output.weight"].double())


def test_a_ghost_batch_of_one_row_is_refused():
    with pytest.raises(CompositionError, match="a ghost batch of one row") as caught:
        assembled(reg=["batchnorm:ghost=1"])
    assert "ghost=2" in caught.value.hint


def layers_of(made, kind):
    return [module for module in made.network.model.modules() if isinstance(module, kind)]


def test_group_norm_of_one_group_is_layer_norm_and_of_as_many_as_channels_instance_norm():
    x = normal(5, 6, 4, 3)
    one, many = nn.GroupNorm(1, 6, affine=False), nn.GroupNorm(6, 6, affine=False)
    torch.testing.assert_close(one(x), F.layer_norm(x, (6, 4, 3)))
    torch.testing.assert_close(many(x), nn.InstanceNorm2d(6)(x))
    one, instance = (layers_of(assembled(**IMAGES, reg=[reg]), nn.GroupNorm)[0] for reg in
                     ("groupnorm:groups=1", "instancenorm"))  # fmt: skip
    layer = layers_of(assembled(**IMAGES, reg=["layernorm"]), nn.LayerNorm)[0]
    x = normal(5, 32, 10, 10).float()
    torch.testing.assert_close(one(x), layer(x))
    torch.testing.assert_close(instance(x), nn.InstanceNorm2d(32)(x))
    assert instance(x[:0]).shape == (0, 32, 10, 10)


def test_rms_norm_is_its_formula():
    layer = layers_of(assembled(reg=["rmsnorm:eps=1e-3"]), nn.RMSNorm)[0]
    x = normal(5, 16).float()
    torch.testing.assert_close(layer(x), x / (x.square().mean(1, keepdim=True) + 1e-3).sqrt())


@pytest.mark.parametrize("name", ["layernorm", "rmsnorm", "groupnorm"])
def test_a_normalization_stands_before_each_activation_or_behind_what_at_names(name):
    made = assembled(reg=[name])
    assert [place.key for place in made.network.places[name]] == ["activation1#0", "activation2#0"]
    kinds = (nn.LayerNorm, nn.RMSNorm, nn.GroupNorm)
    made = assembled(reg=[f"{name}:at=flatten"])
    assert [n for n, m in made.network.model.named_modules() if isinstance(m, kinds)] == ["flatten.after.0.0"]


def test_groups_of_one_number_are_refused_with_a_number_that_works():
    with pytest.raises(CompositionError, match="each of 16 groups has one number") as caught:
        assembled(reg=["groupnorm:groups=16"])
    assert "groups=8" in caught.value.hint


def test_instance_norm_of_single_numbers_is_refused():
    with pytest.raises(CompositionError, match="one number a channel"):
        assembled(**IMAGES, reg=["instancenorm:at=activation3"])


def test_a_bias_before_an_instance_norm_is_not_trained():
    assert assembled(**IMAGES, reg=["instancenorm"]).network.untrained == ("conv1.bias", "conv2.bias")


# Weights.


def effective(made):
    return {name: value for name, value in made.weights_of(0).items() if name.endswith("weight")}


def test_the_largest_singular_value_is_one_after_spectral_norms_iterations():
    made, _ = trained(trainer(reg=["spectral_norm:iterations=20"], dtype="float64", lr=0.02))
    values = [float(torch.linalg.matrix_norm(weight, 2)) for weight in effective(made).values()]
    assert values == pytest.approx([1, 1, 1], abs=1e-3)


def test_spectral_norm_of_a_convolution_is_that_of_its_matrix():
    made, _ = trained(trainer(**IMAGES, reg=["spectral_norm:norm=2.0,iterations=50,at=conv1"]))
    assert float(torch.linalg.matrix_norm(effective(made)["conv1.weight"].flatten(1), 2)) == pytest.approx(2, abs=1e-3)


def test_power_iteration_finds_the_first_singular_vectors():
    weight = normal(5, 4)
    u, v = power_iteration(weight, normal(4, seed=2), 200)
    torch.testing.assert_close(u @ weight @ v, torch.linalg.matrix_norm(weight, 2))


def test_weight_norm_starts_at_the_weight_and_trains_length_and_direction():
    made = assembled(reg=["weight_norm:at=hidden2"])
    module = made.network.model.hidden2
    plain = assembled().network.model.hidden2
    torch.testing.assert_close(module.weight, plain.weight)
    g, v = module.parametrizations.weight.original0, module.parametrizations.weight.original1
    torch.testing.assert_close(module.weight, g * v / v.norm(dim=1, keepdim=True))
    assert g.shape == (12, 1)


def test_weight_norm_comes_first_on_a_weight_whatever_the_order_on_the_command_line():
    made = assembled(reg=["spectral_norm", "dropconnect", "weight_norm"])
    chain = [type(layer).__name__ for layer in made.network.model.hidden1.parametrizations.weight]
    assert chain == ["LengthAndDirection", "SpectralNormLayer", "DropConnectLayer"]


def test_weight_norm_of_a_weight_that_is_parametrized_is_refused():
    model = nn.Sequential(nn.utils.parametrizations.weight_norm(nn.Linear(8, 6)), nn.ReLU(), nn.Linear(6, 3))
    with pytest.raises(CompositionError, match="parametrized already"):
        assembled(model=model, reg=["weight_norm"])


@pytest.mark.parametrize("shape", [(4, 5), (3, 2, 3, 3)])
def test_standardized_weights_are_the_papers_formula(shape):
    weight, got = 3 * normal(*shape) + 1, standardized(3 * normal(*shape) + 1, 1e-4)
    for unit in range(shape[0]):
        own = weight[unit]
        expected = (own - own.mean()) / torch.sqrt(((own - own.mean()) ** 2).sum() / own.numel() + 1e-4)
        torch.testing.assert_close(got[unit], expected)


def test_weight_standardization_spares_the_last_layer():
    made = assembled(reg=["weight_standardization"])
    assert [place.key for place in made.network.places["weight_standardization"]] == [
        "hidden1.weight",
        "hidden2.weight",
    ]
    with pytest.raises(CompositionError, match="found no site"):
        assembled(model="linear", reg=["weight_standardization"])


def test_weight_standardization_of_units_with_one_weight_is_refused():
    with pytest.raises(CompositionError, match="each unit of hidden1 has one weight"):
        assembled(dataset=toy(features=1), reg=["weight_standardization"])


@pytest.mark.parametrize(
    "make", [lambda **fields: trainer(**fields), lambda **fields: stack({}, {"seed": 3}, **fields)]
)
def test_a_unit_whose_weights_are_all_pruned_stays_zero_under_weight_norm(make):
    """2 of 24 weights are left, so one of the three units has none."""
    made, _ = trained(
        make(model="linear", reg=["weight_norm", "pruning:sparsity=0.9,start=0,end=0.5,every=2"], dtype="float64")
    )
    learned = weights(made)
    assert all(value.isfinite().all() for value in learned.values())
    (effective,) = (value for name, value in made.weights_of(0).items() if name.endswith("weight"))
    assert (effective != 0).sum() == 2
    assert (effective == 0).all(dim=1).any()
