"""A folder with a store in it, as the tests of tracking use one."""

from __future__ import annotations

from pathlib import Path

import pytest
from tracking_stores import copied_store

from regplug.tracking.store import Store


@pytest.fixture
def no_tracking_variables(monkeypatch: pytest.MonkeyPatch) -> None:
    """No variable of MLflow's names a store or an experiment."""
    for name in ("MLFLOW_TRACKING_URI", "MLFLOW_EXPERIMENT_NAME", "MLFLOW_EXPERIMENT_ID"):
        monkeypatch.delenv(name, raising=False)


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder whose name has a space and an accent."""
    return tmp_path_factory.mktemp("my data é")


@pytest.fixture(scope="module")
def store(folder: Path) -> Store:
    """The store in that folder."""
    return copied_store(folder)
