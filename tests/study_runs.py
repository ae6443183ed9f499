"""Small studies for tests: toy data, small networks, a store that is created once."""

from __future__ import annotations

from pathlib import Path

from tracking_stores import prepared_database
from trainings import toy

import regplug
from regplug.tracking import open_store

DEFAULTS = {"model": "mlp:hidden=[16,12]", "epochs": 3, "batch_size": 32, "lr": 0.2, "probe": (), "export": False}


class Place:
    """A tracking store of a test's own.

    Args:
        folder: Where it is created.
    """

    def __init__(self, folder: Path) -> None:
        folder.mkdir(parents=True, exist_ok=True)
        (folder / "mlruns").mkdir()
        (folder / "mlruns" / "mlflow.db").write_bytes(prepared_database())
        self.folder = folder
        self.store = open_store(folder=folder)
        self.uri = self.store.location.uri

    def sweep(self, **fields):
        return regplug.sweep(**{**DEFAULTS, "dataset": toy(), "tracking_uri": self.uri, **fields})

    def cv(self, **fields):
        return regplug.cross_validate(**{**DEFAULTS, "dataset": toy(), "tracking_uri": self.uri, **fields})

    def run(self, **fields):
        return regplug.run(**{**DEFAULTS, "dataset": toy(), "tracking_uri": self.uri, **fields})

    def children(self, study_id):
        info = self.store.find_run(study_id)
        return self.store.runs(info.experiment, limit=None, parent=study_id)


def table(result):
    """What the table of a study's end shows, by setting."""
    return {row["label"]: (row["mean"], row["t_interval"], row["runs"], row["failed"]) for row in summary(result)}


def summary(result):
    return result.document()["summary"]


def by_key(result):
    """Each run's result by what tells it from the others."""
    return {each.point.key: each for each in result.results}
