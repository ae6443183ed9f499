"""Distributions with an observer: one that keeps what it hears, and one that raises."""

from __future__ import annotations

import importlib

from fake_plugins import HEADER

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
_RAISES = """
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
_METHODS = ("init", "started", "epoch", "finished")


def raising(**statements):
    """Source of an observer that executes these statements, by method; see `_METHODS`."""
    return _RAISES.format(**{**dict.fromkeys(_METHODS, "pass"), **statements})


def offer(site, distribution, source, name="fake"):
    """Installs a distribution whose one observer is the class `Listener` of this source."""
    module = distribution.replace("-", "_")
    offered = f"Observer(name={name!r}, target='{module}_impl:Listener', summary='')"
    hook = f"@hookimpl\ndef regplug_observers():\n    yield {offered}"
    site.install(distribution, {module: HEADER + hook, f"{module}_impl": source}, entries={module: module})


def listener(module):
    """The class that was installed, with what it heard."""
    return importlib.import_module(f"{module}_impl").Listener
