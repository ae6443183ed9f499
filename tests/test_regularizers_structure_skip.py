"""Residual connections around hidden layers, plain, dropped and shaken."""

from __future__ import annotations

import math

import pytest
import torch
from torch import nn
from trainings import assembled, greatest_difference, stack, trained, trainer, weights

from regplug.errors import CompositionError
from regplug_regularizers.scaled import with_other_gradient
from regplug_regularizers.structure.connected import Connected

DEEP = "mlp:hidden=[8,8,6]"


def test_a_skip_adds_what_comes_into_each_hidden_layer_but_the_first():
    made = assembled(model=DEEP, reg=["skip"])
    model, x = made.network.model.eval(), torch.randn(5, 8)
    first = torch.relu(model.hidden1(x))
    second = first + torch.relu(model.hidden2(first))
    third = model.connections.hidden3.shortcut(second) + torch.relu(model.hidden3(second))
    torch.testing.assert_close(model(x), model.output(third))
    assert isinstance(model.connections.hidden2.shortcut, nn.Identity)
    assert model.connections.hidden3.shortcut.weight.shape == (6, 8)


def test_a_skip_changes_no_name_of_the_networks_parameters():
    plain, skipped = (set(assembled(model=DEEP, reg=regs).inputs.params) for regs in ([], ["skip"]))
    assert skipped - plain == {"connections.hidden3.shortcut.weight"}
    assert plain <= skipped


def test_a_run_with_a_skip_is_a_loop_by_hand():
    fields = {"model": "mlp:hidden=[8,8]", "dtype": "float64", "epochs": 1, "batch_size": 104}
    made, start = trainer(**fields, reg=["skip"]), assembled(**fields, reg=["skip"]).inputs.params
    batch = next(made._feed.epoch(0))
    p = {name: value.detach().clone().requires_grad_() for name, value in start.items()}
    hidden = torch.relu(nn.functional.linear(batch.x, p["hidden1.weight"], p["hidden1.bias"]))
    hidden = hidden + torch.relu(nn.functional.linear(hidden, p["hidden2.weight"], p["hidden2.bias"]))
    logits = nn.functional.linear(hidden, p["output.weight"], p["output.bias"])
    grads = torch.autograd.grad(nn.functional.cross_entropy(logits, batch.y), list(p.values()))
    ours = weights(trained(made)[0])
    for (name, value), grad in zip(p.items(), grads, strict=True):
        torch.testing.assert_close(ours[name], value.detach() - 0.2 * grad)


@pytest.mark.parametrize("options", ["", ":drop_probability=0.5", ":shake_shake=true"])
@pytest.mark.parametrize("others", [[], ["batchnorm", "dropout"]], ids=["alone", "with others"])
def test_runs_with_a_skip_are_the_same_stacked_and_alone(options, others):
    common = {"model": "mlp:hidden=[8,8]", "reg": [f"skip{options}", *others], "dtype": "float64", "epochs": 2}
    together, _ = trained(stack({"seed": 0}, {"seed": 1}, **common))
    alone, _ = trained(trainer(**common, seed=1))
    assert greatest_difference(weights(together, 1), weights(alone), relative=True) < 1e-9


def test_other_layers_stand_inside_the_branch():
    model = assembled(model="mlp:hidden=[8,8]", reg=["skip", "batchnorm", "dropout"]).network.model
    layers = [type(layer).__name__ for layer in model.activation2.after[0]]
    assert layers == ["DropoutLayer", "StochasticDepthLayer"]
    assert [type(layer) for layer in model.activation2.before[0]] == [nn.BatchNorm1d]


def test_shake_shake_has_two_branches_whose_factors_add_up_to_one():
    made = trainer(model="mlp:hidden=[8,8]", reg=["skip:shake_shake=true"], epochs=1, batch_size=104)
    model, seen = made._program.model, []
    twin = model.connections.hidden2.twin
    assert not torch.equal(twin[0].weight, model.hidden2.weight)
    noise = next(made._feed.epoch(0)).noise["skip"]["activation2#0"]
    for layer in (model.activation2.after[0][0], twin[1].after[0][0]):
        layer.register_forward_hook(lambda module, args, output: seen.append((args[0], output)))
    next(iter(made.train()))
    alpha = noise[:, :1]
    for (given, output), share in zip(seen[:2], (alpha, 1 - alpha), strict=True):
        torch.testing.assert_close(output, share * given)


def test_a_factor_forward_and_another_backward():
    x = torch.ones(3, requires_grad=True)
    y = with_other_gradient(x, torch.tensor(0.25), torch.tensor(0.75))
    y.sum().backward()
    assert y.tolist() == [0.25] * 3
    assert x.grad.tolist() == [0.75] * 3


def test_a_shaken_network_is_an_ordinary_one_in_the_end(place):
    result = place.run(model="mlp:hidden=[8,8]", reg=["skip:shake_shake=true"], epochs=1, export=False)
    assert isinstance(result.model, Connected)
    x = torch.randn(4, 8)
    model = result.model
    first = torch.relu(model.hidden1(x))
    branches = torch.relu(model.hidden2(first)), torch.relu(model.connections.hidden2.twin[0](first))
    expected = model.output(first + 0.5 * (branches[0] + branches[1]))
    torch.testing.assert_close(model(x), expected)


def test_the_branch_of_a_row_is_dropped_as_often_as_asked():
    made = assembled(model="mlp:hidden=[8,8,8]", reg=["skip:drop_probability=0.5"])
    layers = [m for m in made.network.model.modules() if type(m).__name__ == "StochasticDepthLayer"]
    assert [layer.depth for layer in layers] == [0.5, 1.0]
    assert math.prod(layer.depth for layer in layers) == 0.5


def test_a_skip_around_what_at_names():
    made = assembled(model=DEEP, reg=["skip:at=hidden1"])
    assert list(made.network.model.connections._modules) == ["hidden1"]


def test_a_network_without_a_second_hidden_layer_is_refused_with_what_to_do():
    with pytest.raises(CompositionError, match="skip found no hidden layer") as caught:
        assembled(model="mlp:hidden=[8]", reg=["skip"])
    assert "hidden=[64,64,64]" in caught.value.hint


def test_contradictions_are_refused():
    with pytest.raises(CompositionError, match="shake_shake weighs two branches"):
        assembled(model=DEEP, reg=["skip:shake_shake=true,drop_probability=0.2"])
    with pytest.raises(CompositionError, match="has parametrized its weight"):
        assembled(model=DEEP, reg=["skip:shake_shake=true", "dropconnect"])
    assert assembled(model=DEEP, reg=["skip", "dropconnect"])
