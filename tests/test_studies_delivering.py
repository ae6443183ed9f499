"""Each run of a study can be repeated, and its best setting ends as a verified bundle."""

from __future__ import annotations

import shlex

import pytest
from cli_calls import Terminal
from study_runs import Place

import regplug
from regplug.config import Fold, load_config
from regplug.errors import RequestError

SMALL = {"model": "linear", "epochs": 2, "lr": 0.1, "export": False, "dtype": "float64"}
JUDGED = ("test/loss", "test/accuracy", "valid/loss", "valid/accuracy", "train/loss", "gap/loss", "norm/weight")


@pytest.fixture(scope="module")
def place(tmp_path_factory):
    return Place(tmp_path_factory.mktemp("delivering") / "store")


@pytest.fixture
def terminal(capsys, monkeypatch, place):
    monkeypatch.chdir(place.folder)
    monkeypatch.delenv("MLFLOW_TRACKING_URI", raising=False)
    return Terminal(capsys)


@pytest.fixture(scope="module")
def swept(place):
    """A study of two settings and two seeds, whose runs are stacked."""
    return regplug.sweep(**SMALL, grid=["reg=none,l2:strength=0.3"], seeds=2, name="swept", tracking_uri=place.uri)


@pytest.fixture(scope="module")
def folded(place):
    """A cross-validation of one setting."""
    fields = {**SMALL, "grid": ["reg=l2:strength=0.3"], "name": "folded", "folds": 3, "repeats": 2}
    return regplug.cross_validate(**fields, refit=False, tracking_uri=place.uri)


def command_in(child):
    """The command in a run's description."""
    return next(line.strip("` ") for line in child.tags["mlflow.note.content"].splitlines() if "regplug run" in line)


def repeated(terminal, place, child):
    """The metrics that the command of a run gives."""
    words = shlex.split(command_in(child))
    assert words[:2] == ["regplug", "run"]
    return terminal(*words[1:], "--json", "--tracking-uri", place.uri).document["metrics"]


def test_the_command_of_a_stacked_run_gives_its_metrics(place, terminal, swept):
    child = next(each for each in place.children(swept.study_id) if "l2" in each.name and each.params["seed"] == "1")
    metrics = repeated(terminal, place, child)
    assert {name: metrics[name] for name in JUDGED} == pytest.approx(
        {name: child.metrics[name] for name in JUDGED}, abs=1e-9
    )


def test_the_command_of_a_fold_gives_its_metrics(place, terminal, folded):
    child = next(
        each for each in place.children(folded.study_id) if (each.params["fold"], each.params["repeat"]) == ("2", "1")
    )
    assert "--fold 2/3/1" in command_in(child)
    metrics = repeated(terminal, place, child)
    assert {name: metrics[name] for name in JUDGED} == pytest.approx(
        {name: child.metrics[name] for name in JUDGED}, abs=1e-9
    )


def test_a_run_of_one_fold_can_be_compared_with_another(place, terminal):
    for fold in ("0/3", "1/3"):
        regplug.run(**{**SMALL, "epochs": 1}, fold=fold, experiment="two folds", tracking_uri=place.uri)
    found = regplug.compare("two folds", tracking_uri=place.uri)
    assert found.analysis.units.kind == "fold"
    assert found.analysis.summaries[0].n == 2


def test_a_run_of_a_study_shows_its_configuration_and_its_command(place, terminal, swept, tmp_path):
    child = next(each for each in place.children(swept.study_id) if "l2" in each.name and each.params["seed"] == "1")
    document = terminal("runs", "show", child.run_id, "--json").document
    assert document["command"] == command_in(child)
    assert document["config"]["reg"][0].startswith("l2:strength=0.3")
    assert document["config"]["seed"] == 1
    assert document["command"] in terminal("runs", "show", child.run_id).out
    file = tmp_path / "config.toml"
    file.write_text(terminal("runs", "show", child.run_id, "--config").out)
    assert load_config(file).to_dict() == document["config"]


def test_a_shorthand_of_one_setting_is_not_in_the_others(place):
    result = place.sweep(grid=["momentum=0,0.5"], epochs=1, name="shorthand")
    from regplug.studies.child_configs import tracked_config

    configs = {each.params["setting"]: tracked_config(place.store, each) for each in place.children(result.study_id)}
    assert {label: config.specs("optimizer")[0].values["momentum"] for label, config in configs.items()} == {
        "momentum=0": 0,
        "momentum=0.5": 0.5,
    }


@pytest.mark.parametrize("text", ["5", "5/5", "0/1", "-1/5", "0/5/", "a/b"])
def test_a_fold_that_is_none_is_refused(text):
    with pytest.raises(RequestError, match="is not a fold"):
        load_config(None, (), {"fold": text})


def test_a_fold_of_a_cross_validation_is_refused(place):
    with pytest.raises(RequestError, match="is one fold, but 3 folds"):
        place.cv(fold="0/5", folds=3)
    with pytest.raises(RequestError, match="cannot vary fold"):
        place.sweep(grid=["fold=0/5,1/5"])
    assert str(Fold.parse("1/5")) == "1/5"
