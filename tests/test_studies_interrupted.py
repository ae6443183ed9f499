"""Studies that were interrupted in the middle of a stack are resumed from what the store knows about them."""

from __future__ import annotations

import os
import signal
from pathlib import Path

import pytest
from cli_calls import Terminal
from study_runs import DEFAULTS
from trainings import toy

import regplug
from regplug.config import load_config
from regplug.errors import RequestError
from regplug.registry import default_registry
from regplug.runs import checkpoints
from regplug.studies.design.config import load_study
from regplug.studies.engine import Study
from regplug.studies.results import StudyObserver
from regplug.studies.stacks import running
from regplug.tracking import open_store

STUDY = {
    **DEFAULTS, "dataset": "moons", "model": "mlp:hidden=[6]", "grid": ["reg.dropout.drop_probability=0,0.3"],
    "reg": ["dropout", "batchnorm", "ema"], "seeds": 2, "epochs": 4, "momentum": 0.9, "probe": ["weight_norm"],
    "checkpoint_every": 1e-9, "schedule": "cosine",
}  # fmt: skip


class Interrupts(StudyObserver):
    """Breaks a study off after so many epochs, counted over its stacks, by an exception or as Ctrl-C does."""

    def __init__(self, epochs, softly=False):
        self.left, self.softly, self.told, self.trained = epochs, softly, [], 0

    def epoch_ended(self, record, points):
        self.trained += 1
        self.left -= 1
        if self.left == 0:
            if not self.softly:
                raise KeyboardInterrupt
            os.kill(os.getpid(), signal.SIGINT)

    def warned(self, message):
        self.told.append(message)


@pytest.fixture(autouse=True)
def each_epoch(monkeypatch):
    """Checkpoints take as much time as they like, and stacks have two runs."""
    monkeypatch.setattr(checkpoints, "_SHARE", 1e9)
    monkeypatch.setattr(running, "candidate_sizes", lambda most: [min(2, most)])


@pytest.fixture
def terminal(capsys):
    return Terminal(capsys)


def interrupted(epochs, function=regplug.sweep, **fields):
    with pytest.raises(KeyboardInterrupt):
        function(**{**STUDY, "name": "broken off", **fields, "observers": [Interrupts(epochs)]})
    (study,) = (run for run in open_store().runs() if run.name == fields.get("name", "broken off"))
    return study


def numbers(result):
    """Everything that the runs of a study measured, and the weights of the one that was trained again."""
    assert result.failed == ()
    each = {one.point.key: {k: v for k, v in one.metrics.items() if "time" not in k} for one in result.results}
    return each, [final.state_sha256 for final in result.finals]


def points(study_id):
    """The points of every run of a study in the store that are not times."""
    store = open_store()
    return {
        child.tags["regplug.study.point"]: {
            name: [(point.step, point.value) for point in store.metric_history(child.run_id, name)]
            for name in child.metrics
            if not name.startswith("time/")
        }
        for child in store.runs(limit=None, parent=study_id)
    }


@pytest.mark.parametrize("epochs", [2, 6])
def test_a_study_resumed_in_the_middle_of_a_stack_ends_as_an_uninterrupted_one(place, epochs):
    broken = interrupted(epochs)
    assert broken.status == "KILLED"
    observer = Interrupts(0)
    resumed = regplug.resume("broken off", observers=[observer])
    whole = regplug.sweep(**{**STUDY, "name": "whole"})
    assert observer.trained == 8 - epochs + 1  # the epoch in which it was interrupted was not saved
    assert (resumed.study_id, resumed.status) == (broken.run_id, "FINISHED")
    assert numbers(resumed) == numbers(whole)
    assert points(resumed.study_id) == points(whole.study_id)
    assert open_store().find_run(broken.run_id).status == "FINISHED"
    assert list(Path("mlruns/checkpoints").iterdir()) == []
