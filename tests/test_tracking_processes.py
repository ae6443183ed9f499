"""Processes that die while they track, and processes that track beside each other."""

from __future__ import annotations

import signal
from pathlib import Path

import pytest
from tracking_stores import EIGHT_WRITERS, ONE_WRITER, copied_store, start, start_writers

from regplug.errors import RequestError
from regplug.tracking import open_store


@pytest.fixture(autouse=True)
def _no_environment(monkeypatch):
    monkeypatch.delenv("MLFLOW_TRACKING_URI", raising=False)
    monkeypatch.delenv("MLFLOW_EXPERIMENT_NAME", raising=False)


@pytest.fixture(scope="module")
def folder(tmp_path_factory):
    return tmp_path_factory.mktemp("my data é")


@pytest.fixture(scope="module")
def store(folder):
    return copied_store(folder)


@pytest.mark.skipif(not Path("/proc/self/stat").exists(), reason="processes are told apart by /proc")
def test_a_process_killed_with_9_leaves_its_metrics_and_a_stale_run_that_can_be_continued(store, folder):
    with start_writers(folder, ONE_WRITER) as writer:
        run_id = writer.stdout.readline().strip()
        alive = store.find_run(run_id)
        assert (alive.status, alive.is_stale) == ("RUNNING", False)
        with pytest.raises(RequestError, match="is being written by process"):
            store.resume_run(run_id)
        writer.send_signal(signal.SIGKILL)
        writer.wait()
    info = store.find_run(run_id)
    assert (info.status, info.is_stale) == ("RUNNING", True)
    assert [point.step for point in store.metric_history(run_id, "train/loss")] == list(range(100))
    with store.resume_run(run_id) as run:
        assert not store.find_run(run_id).is_stale
        run.log_metrics({"train/loss": 0.0}, step=100)
    assert store.find_run(run_id).status == "FINISHED"
    assert len(store.metric_history(run_id, "train/loss")) == 101


def test_a_run_that_failed_is_continued_without_its_old_error(store):
    with pytest.raises(ValueError, match="once"), start(store) as run:
        raise ValueError("once")
    with store.resume_run(run.run_id):
        assert store.find_run(run.run_id).status == "RUNNING"
    info = store.find_run(run.run_id)
    assert info.status == "FINISHED"
    assert "regplug.error" not in info.tags


def test_eight_processes_that_meet_a_fresh_store_at_once_lose_nothing(tmp_path):
    with start_writers(tmp_path, EIGHT_WRITERS) as writers:
        errors = writers.communicate()[1]
    assert (writers.returncode, errors) == (0, "")
    store = open_store(folder=tmp_path)
    infos = store.runs("writers")
    assert sorted(info.name for info in infos) == [f"writer {index}" for index in range(8)]
    for info in infos:
        assert info.status == "FINISHED"
        history = store.metric_history(info.run_id, "valid/loss")
        assert [(point.step, point.value) for point in history] == [(step, step / 7) for step in range(400)]
        assert store.read_artifact(info.run_id, "note.txt").read_text() == "done"
