"""Observers that plugins add hear of every run, failed ones and those of a study too; what one raises is a warning."""

from __future__ import annotations

import json
from collections import Counter

import pytest
from fake_plugins import HEADER
from runs import QUICK
from trainings import toy

import regplug
from regplug.errors import DivergedError
from regplug.registry import default_registry
from regplug.runs.results import Observer
from regplug.studies.observing import PluginsOfStudy
from regplug.studies.results import StudyObserver
from regplug.studies.stacks import running

pytest_plugins = ["installed_plugins"]

HEARD = """
class Listener:
    made, heard = 0, []

    def __init__(self, params):
        Listener.made += 1

    def run_started(self, info):
        self.heard.append(("started", info.epochs))

    def epoch_ended(self, record):
        self.heard.append(("epoch", record.epoch, record.metrics["time/epoch_s"] == [record.seconds]))

    def run_finished(self, result):
        self.heard.append(("finished", result.status))
"""
KEEPS = """
class Listener:
    started, epochs, finished = [], [], []

    def __init__(self, params):
        pass

    def run_started(self, info):
        self.started.append(info)

    def epoch_ended(self, record):
        self.epochs.append(record)

    def run_finished(self, result):
        self.finished.append(result)
"""
RAISES = """
class Listener:
    heard = []

    def __init__(self, params):
        {init}

    def run_started(self, info):
        {started}

    def epoch_ended(self, record):
        self.heard.append(record.epoch)
        {epoch}

    def run_finished(self, result):
        self.heard.append("finished")
        {finished}
"""


def offer(site, distribution, source, name="fake"):
    module = distribution.replace("-", "_")
    offered = f"Observer(name={name!r}, target='{module}_impl:Listener', summary='')"
    hook = f"@hookimpl\ndef regplug_observers():\n    yield {offered}"
    site.install(distribution, {module: HEADER + hook, f"{module}_impl": source}, entries={module: module})


def listener(module):
    import importlib

    return importlib.import_module(f"{module}_impl").Listener


class Told(Observer):
    def __init__(self):
        self.warnings, self.finished = [], []

    def warned(self, message):
        self.warnings.append(message)

    def run_finished(self, result):
        self.finished.append(result)


def test_an_observer_hears_of_every_run_and_is_made_once(installed, place):
    offer(installed, "fake-hears", HEARD)
    for _ in range(2):
        place.run(epochs=2)
    heard = listener("fake_hears")
    assert heard.made == 1
    one_run = [("started", 2), ("epoch", 1, True), ("epoch", 2, True), ("finished", "FINISHED")]
    assert heard.heard == 2 * one_run


@pytest.mark.parametrize(
    ("where", "what"),
    [
        ("init", "raise OSError('no network')"),
        ("started", "raise OSError('no network')"),
        ("epoch", "raise SystemExit(3)"),
        ("finished", "raise OSError('no network')"),
    ],
)
def test_an_observer_that_raises_is_reported_once_and_loses_no_run(installed, place, where, what):
    acts = dict.fromkeys(("init", "started", "epoch", "finished"), "pass") | {where: what}
    offer(installed, f"fake-{where}", RAISES.format(**acts))
    told = Told()
    result = place.run(epochs=2, observers=[told])
    assert result.status == "FINISHED"
    assert place.statuses() == ["FINISHED"]
    (warning,) = told.warnings
    assert f"fake-{where}" in warning
    assert "no network" in warning or "called sys.exit" in warning
    assert f"fake_{where}_impl.py, line " in warning
    assert list(result.warnings) == told.warnings
    assert told.finished == [result]


@pytest.mark.slow
def test_an_observer_that_raised_hears_no_more_of_the_run(installed, place):
    offer(installed, "fake-epoch", RAISES.format(init="pass", started="pass", epoch="raise OSError", finished="pass"))
    place.run(epochs=3)
    assert listener("fake_epoch").heard == [1]
    place.run(epochs=3)
    assert listener("fake_epoch").heard == [1, 1]


def test_one_that_raises_silences_no_other(installed, place):
    offer(installed, "fake-a", RAISES.format(init="raise OSError", started="pass", epoch="pass", finished="pass"))
    offer(installed, "fake-hears", HEARD)
    place.run(epochs=1)
    assert [news[0] for news in listener("fake_hears").heard] == ["started", "epoch", "finished"]


@pytest.mark.slow
def test_two_of_one_name_both_listen_and_are_no_problem(installed, place, terminal):
    offer(installed, "fake-a", HEARD)
    offer(installed, "fake-b", HEARD)
    assert terminal("plugins", "list", "--json").document["problems"] == []
    place.run(epochs=1)
    assert [len(listener(module).heard) for module in ("fake_a", "fake_b")] == [3, 3]


def test_an_interrupt_passes(installed, place):
    offer(
        installed,
        "fake-x",
        RAISES.format(init="pass", started="pass", epoch="raise KeyboardInterrupt", finished="pass"),
    )
    with pytest.raises(KeyboardInterrupt):
        place.run(epochs=2)


def test_the_command_line_tells_it_once_and_keeps_it_in_the_document(installed, place, terminal):
    offer(
        installed, "fake-epoch", RAISES.format(init="pass", started="pass", epoch="raise OSError(1)", finished="pass")
    )
    flags = ["--model", QUICK["model"], "--epochs", 2, "--no-export", "--json"]
    said = terminal("run", *flags)
    assert said.code == 0
    assert said.err.count("warning: The observer fake-epoch/fake raised OSError in epoch_ended") == 1
    assert "OSError" in json.dumps(said.document["warnings"])


def test_a_disabled_observer_hears_nothing(installed, place, terminal):
    offer(installed, "fake-hears", HEARD)
    flags = ["--model", QUICK["model"], "--epochs", 1, "--no-export"]
    assert terminal("run", *flags, "--disable", "fake-hears").code == 0
    assert listener("fake_hears").heard == []


def test_the_trained_weights_do_not_depend_on_who_listens(installed, place):
    alone = place.run(epochs=2).state_sha256
    from regplug.registry import default_registry

    default_registry.cache_clear()
    offer(installed, "fake-hears", HEARD)
    assert place.run(epochs=2).state_sha256 == alone
    assert listener("fake_hears").heard


# Runs that fail.


def test_a_run_that_fails_is_told_with_its_error_and_what_it_measured(installed, place):
    offer(installed, "fake-keeps", KEEPS)
    told = Told()
    with pytest.raises(DivergedError):
        place.run(dataset="digits", lr=1e6, epochs=10, reg=["l2:strength=1"], observers=[told])
    (result,) = listener("fake_keeps").finished
    assert told.finished == [result]
    assert (result.status, result.run_id) == ("FAILED", place.only_run().run_id)
    assert result.error.startswith("DivergedError: The run diverged: ")
    assert "at step" in result.error
    assert result.config.lr == 1e6


def test_a_run_that_is_interrupted_is_told_as_killed(installed, place):
    class Stops(Observer):
        def epoch_ended(self, record):
            raise KeyboardInterrupt

    offer(installed, "fake-keeps", KEEPS)
    with pytest.raises(KeyboardInterrupt):
        place.run(epochs=3, observers=[Stops()])
    (result,) = listener("fake_keeps").finished
    assert (result.status, result.error) == ("KILLED", "KeyboardInterrupt")
    assert "train/objective" in result.metrics


def test_an_observer_that_raises_at_a_failed_run_hides_no_error(installed, place):
    offer(
        installed, "fake-last", RAISES.format(init="pass", started="pass", epoch="pass", finished="raise OSError('x')")
    )
    told = Told()
    with pytest.raises(DivergedError):
        place.run(dataset="digits", lr=1e6, epochs=10, reg=["l2:strength=1"], observers=[told])
    assert place.statuses() == ["FAILED"]
    assert len(told.warnings) == 1


def test_a_request_that_is_refused_is_no_run(installed, place):
    offer(installed, "fake-keeps", KEEPS)
    with pytest.raises(regplug.errors.RequestError):
        place.run(dataset="no_such_data")
    heard = listener("fake_keeps")
    assert heard.started == heard.finished == []


# Studies.

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
    offer(
        installed, "fake-epoch", RAISES.format(init="pass", started="pass", epoch="raise OSError(1)", finished="pass")
    )
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
    offer(
        installed, "fake-epoch", RAISES.format(init="pass", started="pass", epoch="raise OSError(1)", finished="pass")
    )
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
