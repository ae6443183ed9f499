"""Observers that plugins add hear of every run, and what one raises is a warning."""

from __future__ import annotations

import json

import pytest
from fake_plugins import HEADER
from runs import QUICK

from regplug.results import Observer

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
    assert f"fake-{where}/fake" in warning
    assert "no network" in warning or "SystemExit" in warning
    assert list(result.warnings) == told.warnings
    assert told.finished == [result]


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
    assert said.err.count("warning: The observer fake-epoch/fake raised in epoch_ended") == 1
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
