"""First-party models: layers, sizes and what they refuse."""

import dataclasses

import pytest
import torch
from torch import nn

from regplug.api import Feature, ModelContext, NoParams, Task
from regplug.config import RunConfig
from regplug.errors import ModelError
from regplug.registry import default_registry
from regplug.registry.components import find_components
from regplug.regularization.finding import find_sites
from regplug.sites import Sites
from regplug_models import (
    DeepMLPParams,
    FTTransformerParams,
    GRUParams,
    LeNetParams,
    LinearParams,
    MLPParams,
    PolynomialParams,
    ResidualMLPParams,
    ResNetParams,
    TabularResNetParams,
)
from regplug_models.images import lenet, resnet
from regplug_models.networks import cnn, deep_mlp, linear, mlp, polynomial
from regplug_models.recurrent import gru
from regplug_models.residual import residual_mlp
from regplug_models.tabular import Attention, ft_transformer, tabular_resnet

TEN = Task(kind="classification", num_outputs=10)
ONE = Task(kind="regression", num_outputs=1)


def context(*input_shape, task=TEN, activation=None):
    return ModelContext(input_shape=input_shape, task=task, activation=activation)


def shapes(model):
    return {name: tuple(parameter.shape) for name, parameter in model.named_parameters()}


def test_linear_is_one_affine_map_of_the_flattened_input():
    model = linear(LinearParams(), context(2, 3, 4))
    x = torch.randn(5, 2, 3, 4)
    expected = x.flatten(1) @ model.output.weight.T + model.output.bias
    assert torch.allclose(model(x), expected, atol=1e-6)


def test_linear_without_bias_gives_zero_for_zero():
    model = linear(LinearParams(bias=False), context(3, task=ONE))
    assert model(torch.zeros(2, 3)).tolist() == [[0], [0]]
    assert shapes(model) == {"output.weight": (1, 3)}


def test_mlp_names_its_layers_in_the_order_of_the_forward_pass():
    model = mlp(MLPParams(hidden=(256, 128)), context(1, 28, 28))
    names = [name for name, _ in model.named_children()]
    assert names == ["flatten", "hidden1", "activation1", "hidden2", "activation2", "output"]
    assert shapes(model) == {
        "hidden1.weight": (256, 784),
        "hidden1.bias": (256,),
        "hidden2.weight": (128, 256),
        "hidden2.bias": (128,),
        "output.weight": (10, 128),
        "output.bias": (10,),
    }


def test_cnn_on_28x28_has_1600_features_after_flatten():
    model = cnn(NoParams(), context(1, 28, 28))
    assert [name for name, _ in model.named_children()] == [
        "conv1",
        "activation1",
        "pool1",
        "conv2",
        "activation2",
        "pool2",
        "flatten",
        "hidden",
        "activation3",
        "output",
    ]
    assert shapes(model)["conv1.weight"] == (32, 1, 3, 3)
    assert shapes(model)["conv2.weight"] == (64, 32, 3, 3)
    assert shapes(model)["hidden.weight"] == (128, 1600)
    assert shapes(model)["output.weight"] == (10, 128)


@pytest.mark.parametrize("shape", [(1, 10, 10), (3, 32, 32), (2, 11, 45), (1, 13, 10)])
def test_cnn_derives_its_sizes_from_the_input(shape):
    assert cnn(NoParams(), context(*shape))(torch.zeros(2, *shape)).shape == (2, 10)


@pytest.mark.parametrize("shape", [(1, 8, 8), (1, 9, 28), (1, 28, 9), (1, 2, 2)])
def test_cnn_refuses_images_that_are_too_small_and_says_what_to_do(shape):
    with pytest.raises(ModelError, match=f"at least 10x10 pixels; this dataset gives {shape[1]}x{shape[2]}") as caught:
        cnn(NoParams(), context(*shape))
    assert "--model mlp" in caught.value.hint


def test_cnn_refuses_rows():
    with pytest.raises(ModelError, match=r"needs images.*\(200,\)"):
        cnn(NoParams(), context(200))


@pytest.mark.parametrize(("make", "params", "num_activations"), [(mlp, MLPParams(), 2), (cnn, NoParams(), 3)])
def test_each_activation_is_a_new_module_of_the_chosen_kind(make, params, num_activations):
    chosen = make(params, context(1, 28, 28, activation=nn.Tanh))
    assert len({id(module) for module in chosen.modules() if isinstance(module, nn.Tanh)}) == num_activations
    default = make(params, context(1, 28, 28))
    assert sum(isinstance(module, nn.ReLU) for module in default.modules()) == num_activations


@pytest.mark.parametrize(("make", "params"), [(linear, LinearParams()), (mlp, MLPParams()), (cnn, NoParams())])
def test_models_regularize_nothing_and_give_one_row_of_outputs_for_each_input(make, params):
    model = make(params, context(1, 28, 28, task=ONE))
    assert not list(model.buffers())
    x = torch.randn(4, 1, 28, 28)
    assert torch.equal(model.train()(x), model.eval()(x))
    assert model(x).shape == (4, 1)


def test_a_residual_mlp_adds_each_branch_and_declares_it():
    model = residual_mlp(ResidualMLPParams(width=4, blocks=3), context(2, 3))
    assert [n for n, _ in model.named_children()] == [
        "flatten", "stem", "block1", "block2", "block3", "activation", "output",
    ]  # fmt: skip
    assert [name for name, module in model.named_modules() if getattr(module, "is_branch", False)] == [
        f"block{number}.branch" for number in (1, 2, 3)
    ]
    x = torch.randn(5, 4)
    b = model.block2.branch
    expected = x + b.linear2(torch.relu(b.linear1(torch.relu(x))))
    torch.testing.assert_close(model.block2(x), expected)


def test_polynomial_is_linear_in_the_powers_over_factorials():
    model = polynomial(PolynomialParams(features=4), context(1, task=ONE))
    assert shapes(model) == {"output.weight": (1, 4)}
    with torch.no_grad():
        model.output.weight.copy_(torch.tensor([[5, 1.2, -3.4, 5.6]]))
    x = torch.linspace(-2, 2, 9)[:, None]
    assert torch.allclose(model(x), 5 + 1.2 * x - 3.4 * x**2 / 2 + 5.6 * x**3 / 6, atol=1e-5)


def test_polynomial_of_several_inputs_has_one_constant_and_no_mixed_terms():
    basis = polynomial(PolynomialParams(features=3), context(2, task=ONE)).basis
    assert basis(torch.tensor([[2.0, 10.0]])).tolist() == [[1, 2, 10, 2, 50]]


def test_deep_mlp_is_an_mlp_of_one_width():
    model = deep_mlp(DeepMLPParams(depth=20), context(1, 28, 28))
    assert shapes(model)["hidden20.weight"] == (100, 100)
    assert [name for name, _ in model.named_children()][-2:] == ["activation20", "output"]


@pytest.mark.parametrize(("norm", "per_layer"), [("none", 2), ("batch", 4)])
def test_lenet_has_its_sizes_with_and_without_normalization(norm, per_layer):
    model = lenet(LeNetParams(norm=norm), context(1, 28, 28))
    assert shapes(model)["hidden1.weight"] == (120, 400)
    assert len(shapes(model)) == 4 * per_layer + 2
    assert model(torch.zeros(2, 1, 28, 28)).shape == (2, 10)
    assert lenet(LeNetParams(), context(3, 12, 31))(torch.zeros(2, 3, 12, 31)).shape == (2, 10)


@pytest.mark.parametrize(("pool", "kind"), [("average", nn.AvgPool2d), ("max", nn.MaxPool2d)])
def test_lenet_pools_as_it_is_told(pool, kind):
    model = lenet(LeNetParams(pool=pool), context(1, 28, 28))
    assert [type(layer) for name, layer in model.named_children() if name.startswith("pool")] == [kind, kind]


def test_lenet_refuses_images_of_which_nothing_would_be_left():
    with pytest.raises(ModelError, match="at least 12x12 pixels; this dataset gives 8x8"):
        lenet(LeNetParams(), context(1, 8, 8))


@pytest.mark.parametrize("blocks", [1, 2])
def test_resnet_has_the_papers_number_of_layers(blocks):
    model = resnet(ResNetParams(blocks=blocks), context(3, 32, 32))
    weighted = [shape for name, shape in shapes(model).items() if len(shape) > 1 and "shortcut" not in name]
    assert len(weighted) == 6 * blocks + 2
    assert shapes(model)["output.weight"] == (10, 64)
    assert model(torch.zeros(2, 3, 7, 9)).shape == (2, 10)


def test_attention_is_torchs_multihead_attention():
    torch.manual_seed(0)
    ours, theirs = Attention(8, 2), nn.MultiheadAttention(8, 2, batch_first=True)
    parts = [ours.query, ours.key, ours.value]
    with torch.no_grad():
        theirs.in_proj_weight.copy_(torch.cat([part.weight for part in parts]))
        theirs.in_proj_bias.copy_(torch.cat([part.bias for part in parts]))
        theirs.out_proj.weight.copy_(ours.merge.weight)
        theirs.out_proj.bias.copy_(ours.merge.bias)
    x = torch.randn(3, 5, 8)
    assert torch.allclose(ours(x), theirs(x, x, x)[0], atol=1e-6)


def test_columns_are_tokens_of_the_transformer():
    model = ft_transformer(FTTransformerParams(), context(7))
    assert model.tokens(torch.randn(2, 7)).shape == (2, 8, 32)
    with pytest.raises(ModelError, match="needs rows of columns"):
        ft_transformer(FTTransformerParams(), context(1, 8, 8))


def test_the_transformer_embeds_the_columns_of_one_feature_as_one_token():
    age = Feature(name="age", kind="number", start=0, stop=1)
    town = Feature(name="town", kind="category", start=1, stop=4)
    tokens = ft_transformer(FTTransformerParams(), dataclasses.replace(context(4), features=(age, town))).tokens
    x = torch.tensor([[2.0, 0.0, 1.0, 0.0], [0.0, 0.0, 0.0, 1.0]])
    got = tokens(x)
    assert got.shape == (2, 3, 32)
    assert torch.allclose(got[0, 1], 2 * tokens.weight[0] + tokens.bias[0])
    assert torch.allclose(got[:, 2], tokens.weight[2:4] + tokens.bias[1])


def test_gru_takes_sequences_and_has_activations_of_its_own():
    model = gru(GRUParams(), context(20, 3))
    assert model(torch.randn(4, 20, 3)).shape == (4, 10)
    with pytest.raises(ModelError, match="needs sequences"):
        gru(GRUParams(), context(20))
    with pytest.raises(ModelError, match="activations of its own"):
        gru(GRUParams(), context(20, 3, activation=nn.ReLU))


BRANCHED = [
    (tabular_resnet, TabularResNetParams(blocks=3), (5,), 3),
    (ft_transformer, FTTransformerParams(blocks=3), (5,), 6),
    (resnet, ResNetParams(), (1, 8, 8), 3),
]


@pytest.mark.parametrize(("make", "params", "shape", "number"), BRANCHED)
def test_what_a_residual_connection_adds_is_a_branch_that_regularizers_find(make, params, shape, number):
    model = make(params, context(*shape))
    found = Sites(model, find_sites(model, torch.randn(2, *shape)), "any").branches()
    assert len(found) == number


@pytest.mark.parametrize(("make", "params", "shape"), [one[:3] for one in BRANCHED])
def test_a_stack_of_networks_gets_what_each_gets_alone(make, params, shape):
    model = make(params, context(*shape, activation=nn.Tanh)).double()
    own, buffers = dict(model.named_parameters()), dict(model.named_buffers())
    x = torch.randn(2, 3, *shape, dtype=torch.float64)
    stacks = [{name: torch.stack([t, t]) for name, t in tensors.items()} for tensors in (own, buffers)]

    def run(params, buffers, x):
        return torch.func.functional_call(model, {**params, **buffers}, x)

    stacked = torch.func.vmap(run)(*stacks, x)
    for at in range(2):
        alone = run(own, {name: value.clone() for name, value in buffers.items()}, x[at])
        assert torch.allclose(stacked[at], alone, atol=1e-10)


def test_a_model_that_cannot_be_stacked_says_so_in_the_plan():
    components = find_components(RunConfig(model="gru"), default_registry())
    told = "gru declares that it cannot be stacked: torch.func.vmap cannot lift torch's recurrent layers"
    assert components.why_single() == told
    assert find_components(RunConfig(), default_registry()).why_single() == ""
