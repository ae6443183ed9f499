"""Observers that plugins add hear of every run, also of one that fails; what one raises is a warning."""

from __future__ import annotations

import json

import pytest
from observer_plugins import HEARD, KEEPS, listener, offer, raising
from runs import QUICK

import regplug
from regplug.errors import DivergedError
from regplug.registry import default_registry
from regplug.runs.results import Observer

pytest_plugins = ["installed_plugins"]


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
    offer(installed, f"fake-{where}", raising(**{where: what}))
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
    offer(installed, "fake-epoch", raising(epoch="raise OSError"))
    place.run(epochs=3)
    assert listener("fake_epoch").heard == [1]
    place.run(epochs=3)
    assert listener("fake_epoch").heard == [1, 1]


def test_one_that_raises_silences_no_other(installed, place):
    offer(installed, "fake-a", raising(init="raise OSError"))
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
        raising(epoch="raise KeyboardInterrupt"),
    )
    with pytest.raises(KeyboardInterrupt):
        place.run(epochs=2)


def test_the_command_line_tells_it_once_and_keeps_it_in_the_document(installed, place, terminal):
    offer(installed, "fake-epoch", raising(epoch="raise OSError(1)"))
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
    offer(installed, "fake-last", raising(finished="raise OSError('x')"))
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
