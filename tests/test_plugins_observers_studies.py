"""Observers that plugins add hear of every run of a study; what one raises is a warning of the study."""

from __future__ import annotations

from collections import Counter

import pytest
from observer_plugins import HEARD, KEEPS, listener, offer, raising
from runs import QUICK
from trainings import toy

import regplug
from regplug.registry import default_registry
from regplug.studies.observing import PluginsOfStudy
from regplug.studies.results import StudyObserver
from regplug.studies.stacks import running

pytest_plugins = ["installed_plugins"]

STUDY = {**QUICK, "grid": ["reg.l2.strength=0,0.01,0.1"], "reg": ["l2"], "seeds": 2}


class Warned(StudyObserver):
    def __init__(self):
        self.warnings = []

    def warned(self, message):
        self.warnings.append(message)


@pytest.fixture
def by_twos(monkeypatch):
    chunks = running.Chunks(sizes=(2, 2, 2), why="told")
    monkeypatch.setattr(running.GroupRunner, "chunks", lambda self: chunks)


def sweep(**fields):
    return regplug.sweep(**{"dataset": toy(), **STUDY, **fields})


@pytest.mark.slow
def test_every_run_of_a_study_is_told_with_its_epochs_and_its_end(installed, place, by_twos):
    offer(installed, "fake-keeps", KEEPS)
    result = sweep()
    heard = listener("fake_keeps")
    names = [each.point.key for each in result.results]
    assert sorted(info.name for info in heard.started) == sorted(names)
    assert Counter(record.run.name for record in heard.epochs) == dict.fromkeys(names, 2)
    assert sorted(each.run_name for each in heard.finished) == sorted(names)
    assert {each.status for each in heard.finished} == {"FINISHED"}
    assert {info.study_id for info in heard.started} == {each.study_id for each in heard.finished} == {result.study_id}
    of_study = {each.point.key: each for each in result.results}
    for each in heard.finished:
        assert each.metrics == of_study[each.run_name].metrics
        assert each.config == of_study[each.run_name].point.config
        last = [record for record in heard.epochs if record.run.name == each.run_name][-1]
        curve = dict(of_study[each.run_name].history["valid/loss"])
        assert last.metrics["valid/loss"] == [curve[2]]


def test_a_run_of_a_study_is_found_in_the_store_by_its_name(installed, place, by_twos):
    offer(installed, "fake-keeps", KEEPS)
    sweep()
    ended = listener("fake_keeps").finished[0]
    children = place.store.runs(ended.experiment, limit=None, parent=ended.study_id)
    (child,) = (child for child in children if child.tags["regplug.study.point"] == ended.run_name)
    assert child.metrics["test/loss"] == pytest.approx(ended.metrics["test/loss"])


def test_runs_start_with_their_stack_and_before_its_first_epoch(installed, place, by_twos):
    source = HEARD.replace('("started", info.epochs)', '("started", info.name)')
    source = source.replace('("epoch", record.epoch, record.metrics["time/epoch_s"] == [record.seconds])', '("epoch",)')
    offer(installed, "fake-order", source)
    sweep()
    words = [news[0] for news in listener("fake_order").heard]
    assert words == 3 * (2 * ["started"] + 4 * ["epoch"] + 2 * ["finished"])


@pytest.mark.slow
def test_a_failed_run_of_a_study_is_told_with_its_error(installed, place, by_twos):
    offer(installed, "fake-keeps", KEEPS)
    result = sweep(dataset="digits", grid=["lr=0.1,1e6,0.2"], epochs=10, reg=["l2:strength=1"])
    errors = {each.run_name: each.error for each in listener("fake_keeps").finished if each.status == "FAILED"}
    assert errors == {each.point.key: each.error for each in result.failed}
    assert len(errors) == 2


def test_an_observer_that_raises_is_reported_once_in_a_study_and_loses_no_run(installed, place, by_twos):
    offer(installed, "fake-epoch", raising(epoch="raise OSError(1)"))
    offer(installed, "fake-keeps", KEEPS)
    told = Warned()
    result = sweep(observers=[told])
    (warning,) = told.warnings
    assert warning.startswith("The observer fake-epoch/fake raised OSError in epoch_ended (")
    assert warning.endswith(" It receives no further events of this study.")
    assert warning in result.document()["warnings"]
    assert not result.failed
    assert listener("fake_epoch").heard == [1]
    assert len(listener("fake_keeps").finished) == 6


@pytest.mark.slow
def test_the_command_line_tells_a_studys_warning_once(installed, place, terminal):
    offer(installed, "fake-epoch", raising(epoch="raise OSError(1)"))
    flags = ["--model", "mlp:hidden=[8]", "--epochs", 2, "--no-export", "--grid", "lr=0.1,0.2", "--json"]
    said = terminal("sweep", *flags)
    assert said.code == 0, said.err
    assert said.err.count("warning: The observer fake-epoch/fake raised OSError in epoch_ended") == 1


def test_runs_that_an_interrupt_cuts_off_end_as_killed(installed, place, by_twos):
    class Stops(StudyObserver):
        def epoch_ended(self, record, points):
            raise KeyboardInterrupt

    offer(installed, "fake-keeps", KEEPS)
    with pytest.raises(KeyboardInterrupt):
        sweep(observers=[Stops()])
    heard = listener("fake_keeps")
    assert [each.status for each in heard.finished] == ["KILLED", "KILLED"]
    assert [each.run_name for each in heard.finished] == [info.name for info in heard.started]


@pytest.mark.slow
def test_what_an_earlier_attempt_has_finished_is_not_told_again(installed, place, by_twos):
    class Stops(StudyObserver):
        def runs_finished(self, results):
            raise KeyboardInterrupt

    offer(installed, "fake-keeps", KEEPS)
    with pytest.raises(KeyboardInterrupt):
        sweep(name="one", observers=[Stops()])
    sweep(name="one")
    heard = listener("fake_keeps").finished
    # The second stack had started when the first one's end was told.
    assert [each.status for each in heard] == ["FINISHED"] * 2 + ["KILLED"] * 2 + ["FINISHED"] * 4
    assert len({each.run_name for each in heard if each.status == "FINISHED"}) == 6


@pytest.mark.slow
def test_the_refit_of_a_cross_validation_is_a_run_by_itself(installed, place):
    offer(installed, "fake-keeps", KEEPS)
    result = regplug.cross_validate(**{"dataset": toy(), **STUDY, "seeds": 1, "folds": 2})
    last = listener("fake_keeps").finished[-1]
    assert last == result.winner
    assert last.run_id
    assert not last.study_id


def test_without_observers_a_study_tells_nobody():
    nobody = PluginsOfStudy(default_registry(), (), lambda point: pytest.fail("no data are asked for"))
    assert not nobody.is_listening
