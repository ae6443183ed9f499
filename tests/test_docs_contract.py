"""docs/contract.md says what the code says, and its examples train."""

from __future__ import annotations

import inspect
import re
from pathlib import Path
from typing import ClassVar

import pytest
import torch
from made_docs import DOCS, blocks
from torch import nn
from trainings import assembled, stack, trainer, trainer_of

from regplug.errors import CompositionError
from regplug.regularization.composition import compose
from regplug.regularization.layers import ActingLayer, SiteLayer, WeightLayer
from regplug.regularizer import Outputs, RegularizerFunctions, Step
from regplug.testing import check_regularizer

PAGE = (DOCS / "contract.md").read_text(encoding="utf-8")
EXAMPLES = "\n\n".join(blocks(PAGE, "python"))
FUNCTIONS = [name for name, value in vars(RegularizerFunctions).items() if inspect.isfunction(value) and name[0] != "_"]
NAMES = [
    line.split("(")[0].removeprefix("class ")
    for line in EXAMPLES.splitlines()
    if line.startswith("class ") and "RegularizerFunctions" in line
]


@pytest.fixture(scope="module")
def file(tmp_path_factory) -> Path:
    path = tmp_path_factory.mktemp("docs") / "examples.py"
    path.write_text(EXAMPLES)
    return path


@pytest.mark.parametrize("name", FUNCTIONS)
def test_each_function_of_the_contract_is_told_with_its_exact_arguments(name):
    arguments = list(inspect.signature(getattr(RegularizerFunctions, name)).parameters)[1:]
    assert f"`{name}({', '.join(arguments)})`" in " ".join(PAGE.split())


@pytest.mark.parametrize("name", sorted({"needs_soft_targets", "passes"}))
def test_each_switch_of_the_contract_is_told(name):
    assert hasattr(RegularizerFunctions, name)
    assert f"`{name} = " in PAGE


def test_there_is_an_example_of_each_function():
    assert [name for name in FUNCTIONS if f"def {name}(self" not in EXAMPLES] == []


def test_the_table_of_intentions_names_every_function_and_every_example():
    table = PAGE.partition("## I want to")[2].partition("\n## ")[0]
    rows = [line.split("|")[1:4] for line in table.splitlines() if line.startswith("| ")]
    overridden = {word for _, override, _ in rows for word in re.findall(r"[\w.]+", override)}
    layers = {
        name
        for layer in (ActingLayer, SiteLayer, WeightLayer)
        for name, value in vars(layer).items()
        if inspect.isfunction(value) and name[0] != "_" and name != "forward"
    }
    named = {word.split(".")[-1] for word in overridden}
    assert ({*FUNCTIONS, *layers}) - named == set()
    assert {word for *_, examples in rows[1:] for word in re.findall(r"`(\w+)`", examples)} == set(NAMES)


@pytest.mark.parametrize("name", NAMES)
def test_an_example_trains_alone_and_stacked_to_the_same_weights(name, file):
    fields = {"reg": [f"{file}:{name}", "dropout"], "epochs": 2}
    alone = [_weights(**fields, seed=seed) for seed in (0, 1)]
    many = stack({"seed": 0}, {"seed": 1}, **fields)
    list(many.train())
    many.finish()
    for index, expected in enumerate(alone):
        weights = torch.cat([value.flatten() for params, _ in many.networks_of(index) for value in params.values()])
        torch.testing.assert_close(weights, expected, atol=1e-4, rtol=1e-3)


@pytest.mark.parametrize("name", NAMES)
def test_an_example_changes_the_training(name, file):
    # At a great rate the objective rises now and then, which one of them waits for.
    fields = {"epochs": 6, "lr": 2.0} if name == "Plateau" else {"epochs": 2}
    changed, plain = (_weights(reg=[*reg, "dropout"], **fields) for reg in ([f"{file}:{name}"], []))
    assert torch.isfinite(changed).all()
    assert not torch.equal(changed, plain)


def _weights(**fields):
    one = trainer(**fields)
    list(one.train())
    one.finish()
    return torch.cat([value.detach().flatten() for params, _ in one.networks_of(0) for value in params.values()])


def test_the_examples_compose(file):
    # A decay or a projection needs a way back to the trained tensor, which a norm of one has not.
    chosen = [name for name in NAMES if name != "UnitSpectralNorm"]
    made = assembled(reg=[f"{file}:{name}" for name in chosen])
    assert {member.key for member in made.program.regularizer.members} == set(chosen)


def test_a_decay_of_a_weight_whose_parametrization_has_no_inverse_is_refused(file):
    with pytest.raises(CompositionError, match=r"DecayOutput sets the weight output.weight, .* no right_inverse"):
        assembled(reg=[f"{file}:UnitSpectralNorm", f"{file}:DecayOutput"])


@pytest.mark.parametrize(
    "name",
    [pytest.param(name, marks=pytest.mark.full if at % 3 else pytest.mark.slow) for at, name in enumerate(NAMES)],
)
def test_an_example_passes_the_conformance_kit(name, file):
    report = check_regularizer(f"{file}:{name}")
    assert report.passed, report.lines()


class Seen(RegularizerFunctions):
    """Keeps what the functions of a step receive, by name."""

    seen: ClassVar[dict] = {}

    def restructure(self, model, sites):
        for site in sites.activations():
            sites.after(site, Factor())

    def penalty(self, step, weights, outputs):
        self.seen["roles"] = {step.clock.roles[name] for name in weights}
        return weights["output.bias"].sum() * 3

    def gradients(self, step, params, grads):
        self.seen["bias gradient"] = grads["output.bias"].sum()
        return grads, step.state


class Factor(SiteLayer):
    def __init__(self):
        super().__init__()
        self.factor = nn.Parameter(torch.ones(()))

    def act(self, step, noise, x):
        return x * self.factor


class Moved(RegularizerFunctions):
    """Moves each parameter by 1 and keeps where it started, and the gradients."""

    calls: ClassVar[list] = []

    def perturb(self, step, params, grads):
        self.calls.append((params["output.bias"].clone(), grads["output.bias"].clone()))
        return {name: value + 1 for name, value in params.items()}


def _one_step(*functions):
    """One step of a run, and the classes of its regularizers by key."""
    fields = {"epochs": 1, "batch_size": 104, "dtype": "float64"}
    made = assembled(reg=["batchnorm", *(f"{__file__}:{each}" for each in functions)], **fields)
    training = trainer_of(made)
    list(training.train())
    return training, {each.key: type(each.functions) for each in made.program.regularizer.members}


def test_a_penalty_receives_every_parameter_and_its_gradient_is_in_the_gradients():
    _, classes = _one_step("Seen")
    seen = classes["Seen"].seen
    assert seen["roles"] == {"weight", "bias", "norm", "auxiliary"}
    # The gradients of the data loss by the logits sum to zero over the classes, so 3 for each of 3 classes are left.
    assert float(seen["bias gradient"]) == pytest.approx(9)


def test_a_bias_before_a_batch_normalization_is_a_buffer():
    params, buffers = _one_step()[0].networks_of(0)[0]
    assert "hidden1.bias" in buffers
    assert "hidden1.bias" not in params


def test_perturbations_add_up_with_the_same_gradients_and_the_first_pass_moves_running_statistics():
    (plain, _), (moved, classes) = _one_step(), _one_step("Moved@one", "Moved@two")
    (first, gradient), (second, same) = classes["one"].calls
    assert torch.equal(second, first + 1)
    assert torch.equal(gradient, same)
    statistics = [
        {name: value for name, value in made.networks_of(0)[0][1].items() if "running" in name}
        for made in (plain, moved)
    ]
    assert statistics[0]
    torch.testing.assert_close(statistics[0], statistics[1], atol=0, rtol=0)


class Doubled(RegularizerFunctions):
    def sample_losses(self, step, losses, outputs):
        return 2 * losses


class Replaced(RegularizerFunctions):
    def sample_losses(self, step, losses, outputs):
        return outputs.logits.square().sum(1)


@pytest.mark.parametrize(("keys", "factor"), [(("doubled", "replaced"), 1), (("replaced", "doubled"), 2)])
def test_losses_that_are_replaced_keep_only_the_changes_after_them(keys, factor):
    functions = {"doubled": Doubled(), "replaced": Replaced()}
    logits = torch.ones(2, 3)
    step = Step({key: {} for key in keys}, {}, None)
    made = compose([(key, functions[key]) for key in keys]).sample_losses(step, torch.ones(2), Outputs(logits, {}, {}))
    assert made.tolist() == [3 * factor] * 2
