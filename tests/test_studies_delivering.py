"""Each run of a study can be repeated, and its best setting ends as a verified bundle."""

from __future__ import annotations

import dataclasses
import json
import shlex
import signal
import subprocess
import sys
from pathlib import Path
from urllib.parse import unquote, urlparse

import pytest
from cli_calls import terminal_in
from study_runs import Place
from trainings import toy

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
    return terminal_in(place.folder, capsys, monkeypatch)


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
    from regplug.studies.design.child_configs import tracked_config

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


# What ends as a bundle.


DELIVERED = {**SMALL, "export": True, "format": ["onnx"], "dtype": "float32"}


@pytest.fixture(scope="module")
def delivered(place):
    """A study that exports the best of two final seeds."""
    fields = {**DELIVERED, "grid": ["reg=none,l2:strength=0.3"], "name": "delivered", "final_seeds": 2}
    return regplug.sweep(**fields, out=str(place.folder / "best"), tracking_uri=place.uri)


@pytest.fixture(scope="module")
def kept(place):
    """A study with nothing but its runs, on a file."""
    file = place.folder / "rows.csv"
    lines = [f"{at % 17},{at * 7 % 23},{'yes' if at % 17 > 8 else 'no'}" for at in range(300)]
    file.write_text("\n".join(["a,b,answer", *lines]) + "\n")
    fields = {**DELIVERED, "export": False, "dataset": str(file), "target": "answer", "seeds": 2, "name": "kept"}
    return file, regplug.sweep(**fields, grid=["reg=none,l2:strength=0.3"], tracking_uri=place.uri)


@pytest.mark.slow
def test_a_sweep_exports_the_best_of_its_final_seeds(place, delivered):
    assert len(delivered.finals) == 2
    assert {final.config.seed for final in delivered.finals} == {0, 1}
    values = [final.metrics["valid/accuracy"] for final in delivered.finals]
    assert values[0] == max(values)
    assert delivered.winner.bundle_path == place.folder / "best"
    assert regplug.verify(delivered.winner.bundle_path).passed
    assert [final.bundle_path for final in delivered.finals[1:]] == [None]
    assert place.store.find_run(delivered.study_id).tags["regplug.study.winner"] == delivered.winner.run_id
    document = delivered.document()
    assert document["winner"]["bundle"]["path"] == str(place.folder / "best")
    assert [final["run_id"] for final in document["finals"]] == [final.run_id for final in delivered.finals]
    # The seeds of the study, on its split: what is delivered is what was compared.
    for final in delivered.finals[:1]:
        child = next(r for r in delivered.results if r.point.setting.label == delivered.best)
        if child.point.config.seed == final.config.seed:
            assert final.metrics["test/loss"] == pytest.approx(child.metrics["test/loss"], rel=1e-4)


@pytest.mark.slow
def test_a_study_is_exported_as_its_winner_and_as_an_ensemble_of_its_seeds(place, delivered, terminal, tmp_path):
    said = terminal("export", "delivered", "--out", tmp_path / "one", "--json").document
    assert (said["run_id"], said["notes"]) == (delivered.winner.run_id, [])
    said = terminal("export", "delivered", "--ensemble", "--out", tmp_path / "all", "--json").document
    assert {member["run_id"] for member in said["members"]} == {final.run_id for final in delivered.finals}
    assert said["verification"]["passed"]


@pytest.mark.slow
def test_a_run_of_a_study_is_trained_again_compared_and_exported(place, terminal, kept, tmp_path):
    child = place.children(kept[1].study_id)[0]
    said = terminal("export", child.run_id, "--out", tmp_path / "child", "--json")
    assert said.code == 0
    assert "A study keeps no weights" in said.err
    assert "metrics agree" in said.document["notes"][0]
    checks = {check["name"]: check for check in said.document["verification"]["checks"]}
    assert checks["onnx.test_accuracy"]["figure"] == pytest.approx(child.metrics["test/accuracy"], abs=0.02)
    again = terminal("export", child.run_id, "--out", tmp_path / "child", "--json")
    assert again.document["notes"] == []


@pytest.mark.slow
def test_a_study_without_a_bundle_is_exported_later_and_its_seeds_as_one(place, terminal, kept, tmp_path):
    said = terminal("export", "kept", "--ensemble", "--out", tmp_path / "all", "--json").document
    assert len(said["members"]) == 2
    said = terminal("export", "kept", "--out", tmp_path / "later", "--json").document
    assert kept[1].best in said["notes"][0]
    assert place.store.find_run(kept[1].study_id).tags["regplug.study.winner"] == said["run_id"]


@pytest.mark.slow
def test_changed_data_and_missing_data_are_told_before_a_run_is_trained_again(place, terminal, kept, tmp_path):
    file, study = kept
    child = next(each for each in place.children(study.study_id) if each.params["seed"] == "1")
    before = file.read_text()
    command = ("export", child.run_id, "--out", tmp_path / "changed", "--json")
    try:
        place.store.attach(child.run_id).set_tags({"regplug.data.digest": "0" * 64})
        _forget_weights(child)
        said = terminal(*command)
        assert (said.code, said.document["error"]["type"]) == (2, "DataError")
        assert "its digest was 000000000000" in said.document["error"]["message"]
        said = terminal(*command, "--accept-changed-data")
        assert said.code == 0
        assert "data that have changed" in said.document["notes"][0]
        _forget_weights(child)
        file.unlink()
        said = terminal(*command)
        assert said.code == 2
        assert f"No file {file}" in said.document["error"]["message"]
    finally:
        file.write_text(before)


def _forget_weights(child):
    """Removes what an export stored with a run of a study."""
    folder = Path(unquote(urlparse(child.artifact_uri).path))
    for name in ("config.toml", "state.pt"):
        (folder / name).unlink(missing_ok=True)


@pytest.mark.slow
def test_metrics_that_do_not_agree_are_told_and_nothing_is_exported(place, terminal, tmp_path):
    result = regplug.sweep(**SMALL, seeds=2, name="other", tracking_uri=place.uri)
    child = place.children(result.study_id)[0]
    place.store.attach(child.run_id)._client.log_metric(child.run_id, "test/accuracy", 0.1, step=9)
    said = terminal("export", child.run_id, "--out", tmp_path / "no", "--json")
    assert said.code == 1
    assert "and was 0.1" in said.document["error"]["message"]
    assert not (tmp_path / "no").exists()


def test_a_study_without_a_finished_run_has_nothing_to_export(place, terminal):
    result = regplug.sweep(**{**SMALL, "lr": 1e30}, reg=["l2"], seeds=1, name="broken", tracking_uri=place.uri)
    assert len(result.failed) == 1
    said = terminal("export", "broken", "--json")
    assert said.code == 2
    assert "has no finished run" in said.document["error"]["message"]
    (child,) = place.children(result.study_id)
    said = terminal("export", child.run_id, "--json")
    assert "ended FAILED in its study" in said.document["error"]["message"]


KILLED = """
import json, os, signal, sys
import regplug
from regplug.bundles import writing
writing.finish = lambda *_: os.kill(os.getpid(), signal.SIGKILL)
regplug.sweep(**json.loads(sys.argv[1]))
"""
"""A study whose process is killed while it verifies the bundle."""


@pytest.mark.slow
@pytest.mark.skipif(not hasattr(signal, "SIGKILL"), reason="the process is killed")
def test_a_study_killed_while_it_exports_leaves_no_bundle_and_delivers_with_the_same_command(place, tmp_path):
    fields = {**DELIVERED, "grid": ["lr=0.1,0.2"], "name": "killed", "out": str(tmp_path / "best")}
    fields["tracking_uri"] = place.uri
    command = [sys.executable, "-c", KILLED, json.dumps(fields)]
    ended = subprocess.run(command, cwd=tmp_path, capture_output=True, text=True, check=False)
    assert ended.returncode == -signal.SIGKILL, ended.stderr
    assert not (tmp_path / "best").exists()
    result = regplug.sweep(**fields)
    assert len(result.started.finished) == 2
    assert result.winner.bundle_path == tmp_path / "best"
    assert [path.name for path in tmp_path.iterdir()] == ["best"]
    assert regplug.verify(tmp_path / "best").passed


# Without validation rows.


def without_validation():
    return dataclasses.replace(toy(), valid=None)


def test_settings_are_compared_without_validation_rows_and_none_is_chosen(place):
    fields = {"dataset": without_validation(), "grid": ["reg=none,l2:strength=0.3"], "seeds": 3, "epochs": 1}
    result = place.sweep(**fields, name="unchosen")
    analysis = result.conclusion.analysis
    assert (result.best, result.winner, analysis.selected) == (None, None, None)
    assert (analysis.metric, analysis.reference, len(analysis.comparisons)) == ("test/accuracy", "none", 1)
    assert result.document()["selected_by"] is None
    found = regplug.compare("unchosen", tracking_uri=place.uri).analysis
    assert (found.selected, found.reference) == (None, "none")


def test_the_only_setting_needs_no_validation_rows(place):
    result = place.sweep(dataset=without_validation(), seeds=2, epochs=1, final_seeds=2)
    assert result.best == "base"
    assert [final.config.seed for final in result.finals] == [0, 1]


@pytest.mark.parametrize(
    "asked",
    [
        {"grid": ["lr=0.1,0.3"], "export": True},
        {"grid": ["lr=0.1,0.3"], "final_seeds": 2},
        {"grid": ["reg=none,l2"], "tune": ["lr=0.1,0.3"]},
        {"metric": "valid/accuracy"},
        {"reg": ["early_stopping"]},
    ],
)
def test_what_would_choose_without_validation_rows_is_refused(place, asked):
    with pytest.raises(RequestError, match=r"validation") as caught:
        place.sweep(dataset=without_validation(), **asked)
    assert caught.value.hint


def test_a_run_on_an_object_of_the_callers_own_needs_the_object_again(place, terminal):
    result = place.sweep(seeds=2, epochs=1, name="objects")
    child = place.children(result.study_id)[0]
    said = terminal("export", child.run_id, "--json")
    assert said.code == 2
    assert "Pass the same object again" in said.document["error"]["hint"]


def test_a_plan_refuses_what_the_sweep_would_refuse(terminal, tmp_path):
    file = tmp_path / "rows.csv"
    file.write_text("\n".join(["a,answer", *(f"{at % 7},{'yes' if at % 7 > 3 else 'no'}" for at in range(200))]) + "\n")
    data = ("--dataset", f"csv:path={file},target=answer,validation=0", "--model", "linear", "--epochs", "1")
    said = terminal("plan", *data, "--grid", "lr=0.1,0.2", "--json")
    assert said.code == 2
    assert "best setting cannot be chosen" in said.document["error"]["message"]
    said = terminal("plan", *data, "--grid", "lr=0.1,0.2", "--no-export")
    assert "no validation rows, so nothing is chosen" in said.out
