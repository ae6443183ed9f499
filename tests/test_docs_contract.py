"""docs/contract.md says what the code says, and its examples train."""

from __future__ import annotations

import inspect
import re
from pathlib import Path

import pytest
import torch
from made_docs import DOCS, blocks
from trainings import assembled, stack, trainer

from regplug.errors import CompositionError
from regplug.regularization.layers import ActingLayer, SiteLayer, WeightLayer
from regplug.regularizer import RegularizerFunctions
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
