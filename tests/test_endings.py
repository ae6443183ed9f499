"""How a run, a study or an export ends: message, exit code and store say the same thing."""

from __future__ import annotations

import os
import re
import subprocess
import sys
from contextlib import closing
from pathlib import Path

import pytest
from cli_calls import Terminal
from trainings import toy

import regplug
from regplug.errors import FailedError, RequestError, TrackingLostError
from regplug.runs.results import Observer
from regplug.tracking import open_store

ONNX = {"export": True, "format": ["onnx"], "out": "bundles/mine"}


class Does(Observer):
    """Does something when the first epoch has ended."""

    def __init__(self, something):
        self._something = something

    def epoch_ended(self, record):
        if record.epoch == 1:
            self._something()


def statuses(database):
    """What the store says, read behind MLflow's back."""
    import sqlite3

    with closing(sqlite3.connect(database)) as connection:
        return connection.execute("SELECT status FROM runs ORDER BY start_time").fetchall()


# What is refused after the run has begun.


def test_a_place_that_is_taken_meanwhile_fails_the_run_and_is_no_wrong_request(place):
    def take():
        (place.folder / "bundles" / "mine").mkdir(parents=True)
        (place.folder / "bundles" / "mine" / "thesis.tex").write_text("years of work")

    with pytest.raises(FailedError, match="is not a bundle; it was not replaced") as caught:
        place.run(**ONNX, observers=[Does(take)])
    assert caught.value.exit_code == 1
    assert caught.value.result.status == caught.value.result.store_status == "FAILED"
    assert place.statuses() == ["FAILED"]
    assert caught.value.result.metrics["test/accuracy"] == place.only_run().metrics["test/accuracy"]


def test_a_place_that_is_taken_is_refused_before_a_cross_validation_begins(place):
    (place.folder / "thesis.tex").write_text("years of work")
    with pytest.raises(RequestError, match="is not a bundle"):
        regplug.cross_validate(dataset=toy(), model="linear", epochs=1, out="thesis.tex")
    assert place.statuses() == []


# A disk that is full.


@pytest.mark.slow
@pytest.mark.parametrize("room", [260, 340])
def test_a_sweep_on_a_full_disk_tells_how_many_runs_are_kept(small_disk, capsys, room):
    disk, terminal = small_disk(room), Terminal(capsys)
    study = ("--model", "linear", "--epochs", "2", "--reg", "l2", "--grid", "reg.l2.strength=0,1,2,3", "--seeds", "4")
    said = terminal("sweep", *study, "--no-export")
    assert said.code == 1
    kept = len(statuses(disk / "mlruns" / "mlflow.db")) - 1
    assert re.search(rf"ended FAILED; {kept} of 16 runs are kept\.", said.err)
    assert kept < 16
    assert f"error: The tracking store sqlite:///{disk}/mlruns/mlflow.db is missing records" in said.err
    assert "There the run is FAILED" in said.err
    assert statuses(disk / "mlruns" / "mlflow.db")[0] == ("FAILED",)
    assert "l2.strength=0 is better than" in said.out


def test_a_disk_that_is_full_already_is_told_before_anything_begins(small_disk, capsys):
    disk, terminal = small_disk(150), Terminal(capsys)
    said = terminal("run", "--model", "linear", "--epochs", "1", "--no-export")
    assert said.code == 2
    assert re.search(r"error: .*(No space left|is full)", said.err)
    assert statuses(disk / "mlruns" / "mlflow.db") == []


@pytest.mark.slow
@pytest.mark.parametrize("room", [340, 460, 620])
def test_a_run_on_a_full_disk_ends_failed_everywhere_and_leaves_no_half(
    small_disk, capsys, room, tell, figures_are_drawn
):
    disk, terminal = small_disk(room), Terminal(capsys)
    said = terminal("run", "--model", "mlp:hidden=[64]", "--epochs", "1", "--format", "onnx", "--out", "mine")
    assert said.code == 1
    assert statuses(disk / "mlruns" / "mlflow.db") == [("FAILED",)]
    assert "ended FAILED" in said.err
    assert ": FAILED in" in said.out
    assert "test accuracy" in said.out
    is_there = (disk / "mine").exists()
    assert is_there == ("The bundle mine is complete and verified" in said.err)
    if is_there:
        assert regplug.verify(disk / "mine").passed
    assert {path.name for path in disk.iterdir()} <= {"mine", "mlruns"}
    files = disk / "mlruns" / "artifacts" / "digits-mlp" / open_store(folder=disk).runs()[0].run_id / "artifacts"
    is_stored = (files / "bundle").exists()
    assert not (is_stored and room < 500)
    assert not is_stored or regplug.verify(files / "bundle").passed
    if is_there:
        (missing,) = re.findall("It does not have: (.*?)\\. There the run is FAILED", said.err)
        assert ("bundle" in missing.split(", ")) == (not is_stored)
    tell(f"a run with {room} KiB of room: {said.err.splitlines()[-2]}")


# A process that is killed.

EXPORTS = """
import os, sys
import regplug
from regplug.bundles import writing
from shortcuts import not_drawing
from trainings import toy

def killed(*_):
    os.kill(os.getpid(), 9)

writing.write_checksums = killed
fields = {"dataset": toy(), "model": "linear", "epochs": 3, "batch_size": 32, "lr": 0.2}
with not_drawing():
    regplug.run(**fields, export=True, format=["onnx"], out="bundles/mine")
"""


@pytest.mark.slow
def test_a_run_killed_while_it_exports_has_its_final_metrics_and_the_next_command_ends_it(place):
    command = [sys.executable, "-c", EXPORTS]
    environment = {**os.environ, "PYTHONPATH": str(Path(__file__).parent), "HOME": str(place.folder)}
    assert subprocess.run(command, cwd=place.folder, env=environment, check=False).returncode == -9
    assert statuses(place.folder / "mlruns" / "mlflow.db") == [("RUNNING",)]
    assert [path.suffix for path in (place.folder / "bundles").iterdir()] == [".part"]
    killed = place.only_run()
    assert killed.status == "KILLED"
    assert "ended unexpectedly" in killed.tags["regplug.error"]
    again = place.run(model="linear", epochs=3, **ONNX)
    assert again.state_sha256 == killed.tags["regplug.state_sha256"]
    assert killed.metrics["test/accuracy"] == again.metrics["test/accuracy"]
    assert killed.metrics["test/loss"] == again.metrics["test/loss"]
    assert [path.name for path in (place.folder / "bundles").iterdir()] == ["mine"]


# An export of a tracked run.


@pytest.mark.slow
def test_an_export_that_the_store_does_not_keep_fails_and_names_the_bundle_that_is_there(place, monkeypatch):
    run = place.run(model="linear", epochs=1)

    def full(*_, **__):
        raise OSError(28, "No space left on device")

    monkeypatch.setattr("mlflow.MlflowClient.log_artifacts", full)
    with pytest.raises(TrackingLostError, match=r"No space left.* The bundle mine is complete and verified") as caught:
        regplug.export(run.run_id, out="mine", formats=["onnx"], dataset=toy())
    assert caught.value.exit_code == 1
    assert caught.value.result.verification.passed
    assert regplug.verify("mine").passed
