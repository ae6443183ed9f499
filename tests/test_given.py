"""Modules, arrays and code of the user's own."""

from __future__ import annotations

import textwrap

import numpy as np
import pytest
import torch
from torch import nn
from trainings import toy, trained, trainer, weights

from regplug.api import Activation, Dataset, Model, NoParams, Regularizer
from regplug.errors import CompositionError, DataError, ModelError, ParameterError, PluginError, RequestError
from regplug.regularizer import RegularizerFunctions

MINE = '''
"""A regularizer and a network of one's own."""
from dataclasses import dataclass
from typing import Annotated

import torch
from annotated_types import Ge
from torch import nn

from regplug.api import Stackable
from regplug.regularizer import RegularizerFunctions


@dataclass(frozen=True)
class L0Params:
    """Parameters."""

    strength: Annotated[float, Ge(0), Stackable()] = 0.1
    "How much."


class L0(RegularizerFunctions):
    """A smooth count of the weights."""

    Params = L0Params

    def penalty(self, step, weights, outputs):
        chosen = step.select(weights)
        return step.settings["strength"] * sum((1 - torch.exp(-w.abs())).sum() for w in chosen.values())


class Plain(RegularizerFunctions):
    """Without parameters."""

    def penalty(self, step, weights, outputs):
        return sum(w.square().sum() for w in weights.values())


class Net(nn.Module):
    def __init__(self, width=4):
        super().__init__()
        self.fc, self.out = nn.Linear(8, width), nn.Linear(width, 3)

    def forward(self, x):
        return self.out(torch.relu(self.fc(x)))


class NotARegularizer:
    def __init__(self, params=None):
        pass
'''


@pytest.fixture
def mine(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    (tmp_path / "mine.py").write_text(textwrap.dedent(MINE))


class Swish(nn.Module):
    def forward(self, x):
        return x * torch.sigmoid(x)


def swish(params):
    return Swish()


def two_layers(params, context):
    return nn.Sequential(nn.Linear(8, 4), context.activation(), nn.Linear(4, context.task.num_outputs))


class Halves(RegularizerFunctions):
    def gradients(self, step, params, grads):
        return {name: 0.5 * grad for name, grad in grads.items()}, step.state


class BreaksWhenBuilt(RegularizerFunctions):
    def __init__(self, params=None):
        raise ValueError("mine")


def test_a_module_is_trained_as_a_copy_from_its_own_start():
    model = nn.Sequential(nn.Linear(8, 5), nn.ReLU(), nn.Linear(5, 3)).eval()
    before = {name: value.clone() for name, value in model.state_dict().items()}
    made, _ = trained(trainer(model=model, reg=["dropout"]))
    assert all(torch.equal(value, before[name]) for name, value in model.state_dict().items())
    assert not model.training
    assert not torch.equal(weights(made)["0.weight"], before["0.weight"])
    unmoved, _ = trained(trainer(model=model, lr=0.0))
    assert torch.equal(weights(unmoved)["0.weight"], before["0.weight"])


def test_a_function_that_makes_a_module_starts_it_from_the_seed():
    def make():
        return nn.Sequential(nn.Linear(8, 5), nn.ReLU(), nn.Linear(5, 3))

    first, second, other = (weights(trained(trainer(model=make, seed=seed))[0]) for seed in (1, 1, 2))
    assert torch.equal(first["0.weight"], second["0.weight"])
    assert not torch.equal(first["0.weight"], other["0.weight"])


def test_a_class_is_a_function_that_makes_a_module():
    class MyNet(nn.Module):
        def __init__(self):
            super().__init__()
            self.fc = nn.Linear(8, 3)

        def forward(self, x):
            return self.fc(x)

    trained(trainer(model=MyNet))


@pytest.mark.parametrize("kind", ["numpy", "torch", "lists"])
def test_arrays_of_ones_own_are_a_dataset(kind):
    x, y = toy().train.x, toy().train.y
    given = {"numpy": (x, y), "torch": (torch.from_numpy(x), torch.from_numpy(y)), "lists": (x.tolist(), y.tolist())}
    made, _ = trained(trainer(dataset=given[kind], data_seed=1, batch_size=16))
    assert made.outputs("test").shape == (21, 3)


def test_text_labels_are_classes_and_floats_are_values():
    x = toy().train.x
    made = trainer(dataset=(x, np.array(["yes", "no"] * 52)), batch_size=16)
    assert made._program.task.class_names == ("no", "yes")
    made = trainer(dataset=(x, x[:, 0]), batch_size=16)
    assert (made._program.task.kind, type(made._program.loss).__name__) == ("regression", "SquaredError")


def test_the_seed_of_the_data_decides_the_split_of_arrays():
    given = (toy().train.x, toy().train.y)
    first, other = (trainer(dataset=given, data_seed=seed, batch_size=16)._pools.test.x for seed in (0, 1))
    assert not torch.equal(first, other)


def test_descriptors_are_taken_as_components():
    here = __name__
    fields = {
        "model": Model(name="two_layers", target=f"{here}:two_layers", summary=""),
        "activation": Activation(name="swish", target=f"{here}:swish", summary=""),
        "reg": [Regularizer(name="halves", target=f"{here}:Halves", summary=""), "dropout"],
        "dtype": "float64",
    }
    made, _ = trained(trainer(**fields))
    assert isinstance(made._program.model[1], nn.Module)
    fields["reg"] = ["dropout"]
    twice, _ = trained(trainer(**fields, lr=0.1))
    for name, value in weights(made).items():
        torch.testing.assert_close(value, weights(twice)[name], rtol=1e-12, atol=1e-12)


def test_an_activation_of_ones_own_is_a_site():
    activation = Activation(name="swish", target=f"{__name__}:swish", summary="")
    made = trainer(activation=activation, reg=["dropout"])
    assert len(made._feed._draws[0]) == 2


def test_a_regularizer_by_path_takes_parameters_and_acts(mine):
    plain = weights(trained(trainer())[0])
    strong = weights(trained(trainer(reg=["./mine.py:L0:strength=0.02"]))[0])
    assert float(strong["hidden1.weight"].abs().sum()) < float(plain["hidden1.weight"].abs().sum())
    with pytest.raises(ParameterError, match="strength"):
        trainer(reg=["./mine.py:L0:strength=-1"])


def test_a_regularizer_by_path_without_parameters_composes_with_others(mine):
    trained(trainer(reg=["./mine.py:Plain", "dropout", "./mine.py:L0@again:strength=0.1"]))


def test_a_model_by_path_takes_keywords(mine):
    made = trainer(model="./mine.py:Net:width=6")
    assert made._program.params["fc.weight"].shape == (6, 8)


def test_a_model_by_path_with_a_functional_activation_gets_no_dropout(mine):
    with pytest.raises(CompositionError, match="no activation module"):
        trainer(model="./mine.py:Net", reg=["dropout"])


def test_what_is_no_regularizer_is_refused_by_name(mine):
    with pytest.raises((PluginError, RequestError), match="NotARegularizer"):
        trainer(reg=["./mine.py:NotARegularizer"])


def test_a_regularizer_that_breaks_when_built_is_told_with_its_origin():
    broken = Regularizer(name="breaks", target=f"{__name__}:BreaksWhenBuilt", summary="")
    with pytest.raises(PluginError, match=r"breaks.*ValueError.*mine"):
        trainer(reg=[broken])


@pytest.mark.parametrize(
    ("fields", "error", "message"),
    [
        ({"model": 3}, RequestError, "model=3 is a int"),
        ({"model": lambda: 3}, ModelError, "is a int"),
        ({"dataset": 3}, RequestError, "dataset is a int"),
        ({"dataset": (np.zeros((4, 8)), np.zeros(3))}, DataError, "x has 4 rows and y has 3"),
        ({"dataset": (np.zeros(4), np.zeros(4))}, DataError, "x is float64 of shape"),
        ({"reg": [3]}, RequestError, "3"),
        ({"reg": [Halves]}, RequestError, "Halves"),
    ],
)
def test_an_object_that_no_run_can_take_is_refused(fields, error, message):
    with pytest.raises(error, match=message):
        trainer(**fields)


def test_a_dataset_that_returns_something_else_is_its_plugins_fault():
    wrong = Dataset(name="wrong", target=f"{__name__}:swish_data", summary="", task="classification")
    with pytest.raises(PluginError, match="returned a dict"):
        trainer(dataset=wrong)


def swish_data(params, context):
    assert isinstance(params, NoParams)
    return {}


def test_a_run_of_objects_is_tracked_under_their_names(place):
    class MyNet(nn.Sequential):
        pass

    result = place.run(model=MyNet(nn.Linear(8, 4), nn.ReLU(), nn.Linear(4, 3)), dataset=(toy().train.x, toy().train.y),
                       batch_size=16, reg=["dropout"])  # fmt: skip
    run = place.only_run()
    assert run.params["model"] == "my_net"
    assert run.params["dataset"] == "arrays"
    assert isinstance(result.model, MyNet)
    assert [type(module) for module in result.model] == [nn.Linear, nn.ReLU, nn.Linear]
