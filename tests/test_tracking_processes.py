"""Processes that die while they track, and processes that track beside each other."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
import threading
from datetime import UTC, datetime
from pathlib import Path

import pytest
from cli_calls import environment
from tracking_stores import EIGHT_WRITERS, ONE_WRITER, insert_before, start, start_writers

from regplug.errors import RequestError
from regplug.tracking import burying, claiming, open_store

pytest_plugins = ["tracking_folder"]
pytestmark = [pytest.mark.slow, pytest.mark.usefixtures("no_tracking_variables")]


@pytest.mark.skipif(not Path("/proc/self/stat").exists(), reason="processes are told apart by /proc")
def test_a_process_killed_with_9_leaves_its_metrics_and_a_run_that_the_next_one_calls_killed_and_can_continue(
    store, folder
):
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
    info = open_store(folder=folder).find_run(run_id)
    assert (info.status, info.is_stale) == ("KILLED", False)
    assert info.started <= info.ended <= datetime.now(UTC)
    assert "ended unexpectedly" in info.tags["regplug.error"]
    assert [point.step for point in store.metric_history(run_id, "train/loss")] == list(range(100))
    with store.resume_run(run_id) as run:
        assert not store.find_run(run_id).is_stale
        run.log_metrics({"train/loss": 0.0}, step=100)
    assert store.find_run(run_id).status == "FINISHED"
    assert len(store.metric_history(run_id, "train/loss")) == 101


def test_one_at_a_time_resumes_a_run_and_none_waits_for_one_that_was_stopped(tmp_path, monkeypatch):
    entered = []

    def enter(name):
        with claiming.claiming(tmp_path / "not" / "there"):
            entered.append(name)

    with claiming.claiming(tmp_path / "not" / "there"):
        other = threading.Thread(target=enter, args=("other",))
        other.start()
        other.join(0.2)
        assert entered == []
        monkeypatch.setattr(claiming, "_WAIT_S", 0.1)
        enter("after a while")
        assert entered == ["after a while"]
    other.join()
    assert entered == ["after a while", "other"]
    assert list(tmp_path.iterdir()) == []


def test_a_run_that_failed_is_continued_without_its_old_error(store):
    with pytest.raises(ValueError, match="once"), start(store) as run:
        raise ValueError("once")
    with store.resume_run(run.run_id):
        assert store.find_run(run.run_id).status == "RUNNING"
    info = store.find_run(run.run_id)
    assert info.status == "FINISHED"
    assert "regplug.error" not in info.tags


def test_a_run_whose_process_ends_while_the_store_is_opened_keeps_its_status(store, folder, monkeypatch):
    run = start(store)

    def ends_first(run_id, *_):
        if run_id == run.run_id:
            run.end("FINISHED")
        return run_id == run.run_id

    monkeypatch.setattr(burying, "is_dead", ends_first)
    info = open_store(folder=folder).find_run(run.run_id)
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


@pytest.mark.skipif(not hasattr(os, "fork"), reason="the processes are forked once everything is imported")
def test_eight_processes_that_log_the_same_data_for_the_first_time_all_finish(tmp_path):
    """The race as it is run by hand: `python tests/writers_race.py FOLDER 8`."""
    command = [sys.executable, str(Path(__file__).parent / "writers_race.py"), str(tmp_path), "1"]
    said = subprocess.run(command, env=environment(), capture_output=True, text=True, check=False)
    assert said.returncode == 0, said.stderr
    found = json.loads(said.stdout.splitlines()[-1])
    assert found == {"runs": 8, "finished": 8, "whole": 8, "exit_codes": {"0": 8}}, said.stderr


def test_a_dataset_that_another_process_inserts_in_the_same_moment_is_found(store, monkeypatch):
    run, rival = start(store), start(store, name="rival")
    data = ("digits", "same digest", "regplug:digits")
    late = insert_before(monkeypatch, lambda: rival.log_dataset(*data))
    with rival, run:
        run.log_dataset(*data)
    assert not late
    assert store.dataset_digests(run.run_id) == store.dataset_digests(rival.run_id) == {"digits": "same digest"}
    assert store.find_run(run.run_id).status == "FINISHED"
