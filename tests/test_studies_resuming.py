"""A study that was killed goes on with the same command; one that was changed is told from it."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from pathlib import Path

import pytest
from study_runs import Place, by_key, table
from trainings import toy

from regplug.errors import RequestError
from regplug.studies.results import StudyObserver
from regplug.studies.stacks import running

RUNS = 24


@pytest.fixture(scope="module")
def place(tmp_path_factory):
    return Place(tmp_path_factory.mktemp("resuming") / "store")


def killed(folder, kills, seed):
    environment = {key: value for key, value in os.environ.items() if not key.startswith("MLFLOW_")}
    command = [sys.executable, str(Path(__file__).parent / "killed_study.py"), str(folder), str(kills), str(seed)]
    said = subprocess.run(command, env=environment, capture_output=True, text=True, check=False)
    assert said.returncode == 0, said.stderr
    return json.loads(said.stdout.splitlines()[-1])


@pytest.mark.slow
@pytest.mark.skipif(not hasattr(os, "fork"), reason="the study is killed in forked processes")
def test_a_study_killed_with_9_ends_with_the_table_of_one_left_alone(tmp_path, tell):
    found = killed(tmp_path, kills=6, seed=1)
    assert found["is_kept"], "a finished run was lost or repeated"
    assert len(found["points"]) == len(set(found["points"].values())) == RUNS
    greatest = 0.0
    for one, other in zip(found["alone"], found["killed"], strict=True):
        assert (one["label"], one["runs"], one["failed"]) == (other["label"], other["runs"], other["failed"])
        numbers = [(one["mean"], other["mean"]), *zip(one["t_interval"], other["t_interval"], strict=True)]
        greatest = max([greatest, *(abs(a - b) for a, b in numbers)])
    assert greatest <= 1e-6
    before = found["before_the_last"]
    assert found["kills"] >= 3
    assert before > 0
    tell(f"killed {found['kills']} times, with {before} of {RUNS} runs finished by then: table within {greatest:.1g}")


class Stopper(StudyObserver):
    """Interrupts the study when so many runs are done."""

    def __init__(self, runs, error=KeyboardInterrupt):
        self._left, self._error = runs, error

    def runs_finished(self, results):
        self._left -= len(results)
        if self._left <= 0:
            raise self._error


class Counter(StudyObserver):
    """Counts the runs that are trained."""

    runs = 0

    def runs_finished(self, results):
        self.runs += len(results)


@pytest.fixture
def by_twos(monkeypatch):
    monkeypatch.setattr(running, "candidate_sizes", lambda most: [min(2, most)])


def test_an_interrupted_study_is_killed_keeps_its_runs_and_goes_on(place, by_twos):
    fields = {"name": "interrupted", "grid": ["lr=0.1,0.2"], "seeds": 4, "dtype": "float64"}
    with pytest.raises(KeyboardInterrupt):
        place.sweep(**fields, observers=[Stopper(4)])
    (parent,) = (run for run in place.store.runs(limit=None) if run.name == "interrupted")
    assert parent.status == "KILLED"
    assert len(place.children(parent.run_id)) == 4
    counter = Counter()
    result = place.sweep(**fields, observers=[counter])
    assert counter.runs == 4
    assert (result.study_id, len(result.started.finished)) == (parent.run_id, 4)
    assert place.store.find_run(parent.run_id).status == "FINISHED"
    whole = place.sweep(**{**fields, "name": "whole"})
    assert table(result) == table(whole)
    for key, each in by_key(result).items():
        assert each.metrics == pytest.approx(by_key(whole)[key].metrics, abs=1e-12)


def test_a_study_that_is_finished_begins_anew(place):
    first = place.sweep(name="twice", epochs=1)
    second = place.sweep(name="twice", epochs=1)
    assert first.study_id != second.study_id
    assert second.started.finished == ()


def test_going_on_with_another_configuration_is_refused_and_the_difference_shown(place, by_twos):
    fields = {"name": "changed", "seeds": 4, "epochs": 2}
    with pytest.raises(KeyboardInterrupt):
        place.sweep(**fields, observers=[Stopper(2)])
    with pytest.raises(RequestError, match=r"lr was 0\.2 and is 0\.3") as caught:
        place.sweep(**fields, lr=0.3)
    assert caught.value.exit_code == 2
    with pytest.raises(RequestError, match=r"data was '\w+' and is '\w+'"):
        place.sweep(**fields, dataset=toy(seed=5))
    assert place.sweep(**fields).failed == ()


@pytest.mark.slow
def test_a_refit_that_was_interrupted_is_all_that_is_done_again(place, by_twos, monkeypatch):
    from regplug.studies.delivery import delivering

    def interrupted(*args, **kwargs):
        raise KeyboardInterrupt

    fields = {"name": "refit", "grid": ["reg=none,l2"], "folds": 2, "epochs": 1}
    execute = delivering.execute
    monkeypatch.setattr(delivering, "execute", interrupted)
    with pytest.raises(KeyboardInterrupt):
        place.cv(**fields)
    monkeypatch.setattr(delivering, "execute", execute)
    counter = Counter()
    result = place.cv(**fields, observers=[counter])
    assert counter.runs == 0
    assert len(result.started.finished) == 4
    assert result.winner.status == "FINISHED"


def test_an_observer_that_breaks_leaves_the_study_failed_and_its_runs_kept(place, by_twos):
    fields = {"name": "broken", "seeds": 4, "epochs": 1}
    with pytest.raises(ZeroDivisionError):
        place.sweep(**fields, observers=[Stopper(2, ZeroDivisionError)])
    (parent,) = (run for run in place.store.runs(limit=None) if run.name == "broken")
    assert (parent.status, len(place.children(parent.run_id))) == ("FAILED", 2)
    assert len(place.sweep(**fields).started.finished) == 2
