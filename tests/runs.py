"""Whole runs in a folder of their own, with a store that was created before."""

from __future__ import annotations

from contextlib import contextmanager

import pytest
from tracking_stores import copied_store
from trainings import toy

import regplug
from regplug.tracking import open_store

QUICK = {"model": "mlp:hidden=[16,12]", "epochs": 2, "batch_size": 32, "lr": 0.2, "export": False}


class Place:
    """A folder in which runs are made."""

    def __init__(self, folder):
        self.folder, self.store = folder, copied_store(folder)

    def run(self, **fields):
        """A quick run on toy classes, unless said otherwise."""
        return regplug.run(**{"dataset": toy(), **QUICK, **fields})

    def statuses(self):
        """The status of every run in the store, the newest first."""
        return [run.status for run in open_store(folder=self.folder).runs()]

    def only_run(self):
        (run,) = open_store(folder=self.folder).runs()
        return run

    def leftovers(self):
        """What lies in the folder beside the store."""
        return sorted(path.name for path in self.folder.iterdir() if path.name != "mlruns")


@contextmanager
def standing_in(folder):
    """The folder is the working folder, and the store lies in it."""
    with pytest.MonkeyPatch.context() as patch:
        patch.chdir(folder)
        patch.delenv("MLFLOW_TRACKING_URI", raising=False)
        yield folder


@pytest.fixture
def place(tmp_path):
    """A fresh folder, which is the working folder."""
    with standing_in(tmp_path):
        yield Place(tmp_path)
