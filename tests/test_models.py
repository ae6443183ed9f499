"""First-party models: layers, sizes and what they refuse."""

import pytest
import torch
from torch import nn

from regplug.api import ModelContext, NoParams, Task
from regplug.errors import ModelError
from regplug_models import LinearParams, MLPParams, ResidualMLPParams
from regplug_models.networks import cnn, linear, mlp
from regplug_models.residual import residual_mlp

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
