"""The text of a component is read where it comes in, and nowhere else: everything inside gets what was read."""

from __future__ import annotations

import copy
import pickle
from collections import Counter

import pytest
from cli_calls import Terminal
from runs import QUICK, place  # noqa: F401 # a fixture
from trainings import toy

import regplug
from regplug.config import RunConfig, load_config
from regplug.config.spec import ComponentSpec
from regplug.errors import RequestError
from regplug.registry import building, default_registry
from regplug.registry.components import find_components, resolve, resolve_config
from regplug.reports import factors

L2, DROPOUT, MOMENTUM = "l2:strength=0.1", "dropout:drop_probability=0.2", "sgd:momentum=0.5"


@pytest.fixture
def reads(monkeypatch):
    """How often each text was read."""
    factors._specs.cache_clear()
    counts, read = Counter(), ComponentSpec.parse

    def counted(text, **how):
        counts[text] += 1
        return read(text, **how)

    monkeypatch.setattr(ComponentSpec, "parse", staticmethod(counted))
    return counts


def test_a_run_reads_each_component_once(place, reads):  # noqa: F811
    place.run(reg=[L2, DROPOUT], optimizer=MOMENTUM, epochs=1, probe=("weight_statistics",))
    assert {text: reads[text] for text in (L2, DROPOUT, MOMENTUM, QUICK["model"], "weight_statistics")} == {
        L2: 1,
        DROPOUT: 1,
        MOMENTUM: 1,
        QUICK["model"]: 1,
        "weight_statistics": 1,
    }
    assert not [text for text in reads if "strength" in text and text != L2]


@pytest.fixture
def checks(monkeypatch):
    """How often the parameters of each component were checked."""
    counts, make = Counter(), building.make_params

    def counted(component, values, origin=""):
        counts[component.name] += 1
        return make(component, values, origin)

    monkeypatch.setattr(building, "make_params", counted)
    return counts


ASKED = [
    "--reg",
    L2,
    "--reg",
    DROPOUT,
    "--optimizer",
    MOMENTUM,
    "--epochs",
    "1",
    "--model",
    "mlp:hidden=[4]",
    "--no-export",
]
ONCE = {"l2": 1, "dropout": 1, "sgd": 1, "mlp": 1}


@pytest.mark.parametrize("command", ["run", "plan"])
def test_a_command_checks_the_parameters_of_each_component_once(command, place, checks, capsys):  # noqa: F811
    assert Terminal(capsys)(command, *ASKED).code == 0
    assert {name: checks[name] for name in ONCE} == ONCE


def test_a_run_from_python_checks_the_parameters_of_each_component_once(place, checks):  # noqa: F811
    place.run(reg=[L2, DROPOUT], optimizer=MOMENTUM, model="mlp:hidden=[4]", epochs=1)
    assert {name: checks[name] for name in ONCE} == ONCE


def test_a_sweep_reads_a_component_once_for_each_setting(place, reads):  # noqa: F811
    regplug.sweep(
        **{**QUICK, "epochs": 1, "dataset": toy(), "probe": ()},
        grid=[f"reg=none,{L2}", "lr=0.1,0.2"],
        seeds=2,
    )
    report = 1  # which has only the names of settings, as a report of tracked runs does
    assert reads[L2] == 2 + report
    assert not [text for text in reads if "strength" in text and text != L2]


def test_a_strength_of_a_grid_is_never_written_and_read_again(reads):
    from regplug.studies.design.config import load_study
    from regplug.studies.design.points import points_of

    study = load_study(None, (), {"reg": [DROPOUT], "grid": ["reg.l2.strength=0,0.1,1"], "seeds": 3})
    points = points_of(study, default_registry())
    assert len(points) == 9
    assert not [text for text in reads if "strength" in text]
    assert reads[DROPOUT] == 1


def test_a_configuration_takes_components_that_were_read():
    spec = ComponentSpec.parse(L2)
    config = RunConfig(reg=(spec, DROPOUT), model=ComponentSpec.parse("linear"))
    assert (config.reg, config.model) == ((L2, DROPOUT), "linear")
    assert config.specs("reg")[0] is spec
    assert config == RunConfig(reg=(L2, DROPOUT), model="linear")


def test_another_field_does_not_read_the_components_again(reads):
    config = RunConfig(reg=(L2,))
    changed = config.replaced(seed=7)
    assert (changed.seed, changed.reg, reads[L2]) == (7, (L2,), 1)
    assert config.replaced(reg=("l1",)).reg == ("l1",)
    assert config.replaced(reg=()).specs("reg") == ()


def test_resolving_finds_the_same_configuration_and_the_same_components():
    registry = default_registry()
    config = load_config(None, (), {"reg": [L2, "batchnorm"], "momentum": 0.9, "loss": "auto", "export": False})
    resolved, components = resolve(config, registry)
    assert resolved == resolve_config(config, registry)
    assert components == find_components(resolved, registry)
    assert resolve(resolved, registry) == (resolved, components)


def test_a_configuration_can_be_pickled_and_copied():
    config = RunConfig(reg=(L2,), optimizer=MOMENTUM)
    for other in (pickle.loads(pickle.dumps(config)), copy.deepcopy(config)):  # noqa: S301 # what was just written
        assert other == config
        assert other.specs("optimizer") == config.specs("optimizer")


def test_a_component_of_the_wrong_type_is_refused_in_words():
    with pytest.raises(RequestError, match="reg"):
        RunConfig(reg=(3,))
