"""Runs that are no better than guessing, and folds scored on rows that were chosen by: told wherever they are shown."""

from __future__ import annotations

import json
import re

import numpy as np
import pytest
from cli_calls import terminal_in
from study_runs import Place
from trainings import assembled, toy

import regplug
from regplug.runs.choosing import find_choosers
from regplug.runs.doubts import GUESS_TAG, WARNINGS_TAG
from regplug.studies.results import StudyObserver

pytestmark = pytest.mark.slow

DEAD = {"dataset": "digits", "model": "mlp:hidden=[16]", "epochs": 2, "lr": 9.0}


@pytest.fixture(scope="module")
def place(tmp_path_factory):
    return Place(tmp_path_factory.mktemp("doubtful") / "store")


@pytest.fixture
def terminal(capsys, monkeypatch, place):
    return terminal_in(place.folder, capsys, monkeypatch)


class Hears(StudyObserver):
    def __init__(self):
        self.warnings = []

    def warned(self, message):
        self.warnings.append(message)


# No better than guessing


def test_a_run_with_a_learning_rate_of_five_is_told_to_be_no_better_than_guessing(terminal):
    said = terminal("run", "--model", "mlp", "--lr", "5", "--epochs", "3", "--no-export")
    assert said.code == 0
    assert "warning: No better than guessing: test/accuracy 0." in said.err
    assert "Try a smaller --lr (it is 5)" in said.err
    assert "warning        no better than guessing: test/accuracy 0." in said.out


def test_the_document_and_the_store_have_the_warning(terminal, place):
    document = terminal("run", "--model", "mlp", "--lr", "5", "--epochs", "2", "--no-export", "--json").document
    (warning,) = document["warnings"]
    assert warning.startswith("No better than guessing")
    tags = place.store.find_run(document["run_id"]).tags
    assert tags[WARNINGS_TAG] == warning
    assert tags[GUESS_TAG].startswith("test/accuracy 0.")


@pytest.mark.parametrize(
    "fields",
    [
        {"dataset": "digits", "epochs": 2},
        {"dataset": "digits", "epochs": 0},
        {"dataset": toy("regression"), "lr": 0.05, "epochs": 10},
    ],
    ids=["classes", "not trained", "values"],
)
def test_ordinary_runs_and_runs_that_did_not_train_raise_no_alarm(place, fields):
    result = place.run(**fields)
    assert result.warnings == ()
    assert GUESS_TAG not in place.store.find_run(result.run_id).tags


def test_values_that_explain_nothing_are_told_with_their_r2(place):
    result = place.run(dataset=toy("regression"), lr=1e-9)
    assert result.metrics["test/r2"] <= 0
    assert "test/r2 -" in result.guess
    assert "a larger --lr" in result.warnings[0]


@pytest.fixture(scope="module")
def swept(place):
    """One rate that learns and one that does not."""
    heard = Hears()
    result = place.sweep(**DEAD, grid=["lr=0.2,9"], seeds=2, name="rates", observers=[heard])
    return result, heard


def test_a_study_names_the_settings_that_are_no_better_than_guessing(place, swept):
    result, heard = swept
    (warning,) = heard.warnings
    assert warning.startswith("No better than guessing: lr=9 (2 of 2 runs). For example: test/accuracy")
    assert "Try a smaller --lr (it is 9)" in warning
    document = result.document()
    assert document["warnings"] == [warning]
    assert [row["no_better_than_guessing"] for row in document["summary"]] == [0, 2]
    assert [bool(run["warnings"]) for run in document["runs"]] == [False, False, True, True]
    children = place.children(result.study_id)
    assert {child.params["lr"]: GUESS_TAG in child.tags for child in children} == {"0.2": False, "9.0": True}
    report = place.store.read_artifact(result.study_id, "report.html").read_text()
    assert report.count('<span class="mark worse">no better than guessing</span>') == 1


def test_comparing_a_study_names_them_again(place, swept):
    result, _ = swept
    found = regplug.compare(result.study_id, tracking_uri=place.uri)
    assert "No better than guessing: lr=9 (2 of 2 runs)." in found.analysis.notes
    assert sum(run["no_better_than_guessing"] for run in found.document()["runs"]) == 2


def test_a_best_setting_that_is_no_better_than_guessing_is_not_praised(place):
    result = place.sweep(**DEAD, grid=["lr=8,9"])
    assert ", and is no better than guessing." in result.conclusion.analysis.verdict


def test_folds_are_judged_by_their_validation_rows(place):
    result = place.cv(**{**DEAD, "grid": ["lr=9"]}, folds=2, refit=False)
    assert all(each.guess.startswith("valid/accuracy") for each in result.results)


def test_a_study_that_goes_on_knows_which_of_its_runs_were_guessing(place):
    class Stops(StudyObserver):
        def runs_finished(self, results):
            raise KeyboardInterrupt

    fields = {**DEAD, "grid": ["model.hidden=[8],[12]"], "name": "stopped"}
    with pytest.raises(KeyboardInterrupt):
        place.sweep(**fields, observers=[Stops()])
    result = place.sweep(**fields)
    assert len(result.started.finished) == 1
    assert [bool(each.guess) for each in result.results] == [True, True]


# Folds that are scored on rows that were chosen by


def test_early_stopping_in_a_cross_validation_is_doubted_in_plan_stderr_report_document_and_compare(terminal, place):
    args = ("--model", "linear", "--epochs", "2", "--grid", "reg=none,early_stopping", "--folds", "3")
    words = "early_stopping makes choices with the validation rows"
    assert words in terminal("plan", *args).err
    said = terminal("cv", *args, "--name", "stopping", "--no-export")
    assert f"warning: {words}" in said.err
    assert "regplug sweep --data-seeds N" in said.err
    study = place.store.find_run("stopping")
    page = place.store.read_artifact(study.run_id, "report.html").read_text()
    assert words in re.sub("<[^>]*>", "", page)  # names of settings are marked up
    assert words in study.tags[WARNINGS_TAG]
    assert words in terminal("compare", "stopping").out
    assert any(words in note for note in terminal("compare", "stopping", "--json").document["notes"])


def test_a_sweep_that_is_scored_on_test_rows_is_not_doubted(place):
    result = place.sweep(grid=["reg=none,early_stopping"])
    assert not any("makes choices with" in warning for warning in result.started.warnings)


OWN = """
from regplug.regularizer import EpochEnd, RegularizerFunctions


class Chooser(RegularizerFunctions):
    def after_epoch(self, step, metrics, params, buffers):
        return EpochEnd(params, buffers, step.state, stop=metrics.get("valid/accuracy") > 0.99)


class Looker(RegularizerFunctions):
    def after_epoch(self, step, metrics, params, buffers):
        return EpochEnd(params, buffers, step.state, rate_scale=1 / (1 + metrics["train/objective"]))


class Breaks(RegularizerFunctions):
    def after_epoch(self, step, metrics, params, buffers):
        raise RuntimeError("not yet")
"""


def test_anybodys_component_that_chooses_by_validation_is_found_and_others_are_not(tmp_path):
    (tmp_path / "own.py").write_text(OWN)
    own = [f"{tmp_path}/own.py:{name}" for name in ("Chooser", "Looker", "Breaks")]
    found = [find_choosers(assembled(reg=[reg])) for reg in (*own, "early_stopping", "swa", "dropout")]
    assert [len(keys) for keys in found] == [1, 0, 0, 1, 0, 0]


def test_looking_for_choosers_changes_no_weight():
    made = assembled(reg=["early_stopping"])
    before = {name: tensor.detach().clone() for name, tensor in made.program.params.items()}
    find_choosers(made)
    assert all(np.array_equal(before[name], tensor.detach()) for name, tensor in made.program.params.items())
    json.dumps(find_choosers(made))
