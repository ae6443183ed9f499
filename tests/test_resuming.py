"""Runs that were interrupted are resumed in the same MLflow run, and end with the weights of an uninterrupted run."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import threading
import time
from pathlib import Path

import numpy as np
import pytest
from mlflow import MlflowClient
from small_disks import KIB, mounted
from trainings import toy
from waiting import wait_until

import regplug
from regplug.config import load_config
from regplug.errors import DataError, RequestError
from regplug.registry import default_registry
from regplug.runs import checkpoints, resuming
from regplug.runs.checkpoints import Checkpoints, read_checkpoint
from regplug.runs.request import check_request
from regplug.runs.results import Observer
from regplug.runs.runner import execute
from regplug.tracking import open_store
from regplug.tracking.liveness import PROCESS_TAG
from regplug.tracking.run import TrackedRun

FIELDS = {
    "dataset": "moons", "model": "mlp:hidden=[8]", "epochs": 5, "lr": 0.1, "momentum": 0.9, "schedule": "cosine",
    "reg": ["dropout", "batchnorm", "ema", "early_stopping:keep=last", "l2:strength=0..0.01"], "export": False,
    "probe": ("weight_norm",), "checkpoint_every": 1e-9,
}  # fmt: skip


class Interrupts(Observer):
    """Breaks the run off after an epoch, by an exception or as Ctrl-C does."""

    def __init__(self, epoch, softly=False):
        self.epoch, self.softly, self.told = epoch, softly, []

    def epoch_ended(self, record):
        if record.epoch == self.epoch:
            if not self.softly:
                raise KeyboardInterrupt
            os.kill(os.getpid(), signal.SIGINT)

    def warned(self, message):
        self.told.append(message)


@pytest.fixture
def each_epoch(monkeypatch):
    """Checkpoints take as much time as they like."""
    monkeypatch.setattr(checkpoints, "_SHARE", 1e9)


def interrupted(place, epoch, **fields):
    with pytest.raises(KeyboardInterrupt):
        place.run(**{**FIELDS, "name": "broken off", **fields, "observers": [Interrupts(epoch)]})
    return place.only_run()


def points(run_id):
    """The steps of each metric, and of those that are not times the values."""
    store = open_store()
    histories = {name: store.metric_history(run_id, name) for name in store.find_run(run_id).metrics}
    return {
        name: [point.step if name.startswith("time/") else (point.step, point.value) for point in history]
        for name, history in histories.items()
    }


@pytest.mark.parametrize("epoch", [1, 3, 5])
def test_a_resumed_run_ends_with_the_weights_and_the_points_of_an_uninterrupted_one(place, each_epoch, epoch):
    broken = interrupted(place, epoch)
    assert broken.status == "KILLED"
    resumed = regplug.resume("broken off")
    whole = place.run(**FIELDS)
    assert (resumed.run_id, resumed.status) == (broken.run_id, "FINISHED")
    assert resumed.state_sha256 == whole.state_sha256
    assert {k: v for k, v in resumed.metrics.items() if "time" not in k} == {
        k: v for k, v in whole.metrics.items() if "time" not in k
    }
    assert points(resumed.run_id) == points(whole.run_id)
    assert list(Path("mlruns/checkpoints").iterdir()) == []


def test_points_that_were_still_in_memory_when_the_process_was_killed_are_logged_again(place, each_epoch, monkeypatch):
    with monkeypatch.context() as patch:
        patch.setattr(TrackedRun, "log_metrics", lambda *_: None)
        broken = interrupted(place, 3)
    assert points(broken.run_id) == {}
    resumed, whole = regplug.resume("broken off"), place.run(**FIELDS)
    assert points(resumed.run_id) == points(whole.run_id)


@pytest.mark.parametrize(("ends", "words"), [(True, "was finished by"), (False, "was resumed by")])
def test_of_two_that_resume_a_run_at_once_one_is_refused_and_writes_nothing(
    place, each_epoch, monkeypatch, ends, words
):
    broken, read = interrupted(place, 3), resuming.earlier_of

    def overtaken(store, info):
        found = read(store, info)
        monkeypatch.setattr(resuming, "earlier_of", read)
        if ends:
            regplug.resume(broken.run_id)
        else:
            MlflowClient(store.location.uri).set_tag(broken.run_id, PROCESS_TAG, "elsewhere:1:2")
        return found

    monkeypatch.setattr(resuming, "earlier_of", overtaken)
    with pytest.raises(RequestError, match=f"{words} another process meanwhile"):
        regplug.resume(broken.run_id)
    if not ends:
        assert open_store().find_run(broken.run_id).status == "KILLED"
        regplug.resume(broken.run_id)
    assert points(broken.run_id) == points(place.run(**FIELDS).run_id)


def test_a_run_without_a_checkpoint_is_trained_from_its_beginning(place):
    broken = interrupted(place, 3, checkpoint_every=0)
    assert not Path("mlruns/checkpoints").exists()
    resumed = regplug.resume(broken.run_id[:8])
    whole = place.run(**FIELDS)
    assert resumed.state_sha256 == whole.state_sha256
    assert points(resumed.run_id) == points(whole.run_id)


def test_ctrl_c_ends_the_training_after_the_epoch_and_keeps_what_there_is(place, heeded):
    observer = Interrupts(2, softly=True)
    asked = load_config(None, (), {**FIELDS, "checkpoint_every": 1000})
    early = execute(check_request(asked, default_registry()), observers=[observer], is_soft=True)
    assert (early.status, early.store_status, place.statuses()) == ("KILLED", "KILLED", ["KILLED"])
    assert "test/accuracy" in early.metrics
    assert observer.told == [
        "The training ends after this epoch. Press Ctrl-C again to end the run at once.",
        f"Interrupted after epoch 2 of 5. `regplug runs resume {early.run_id[:8]}` continues the run.",
    ]
    assert regplug.resume(early.run_id).state_sha256 == place.run(**FIELDS).state_sha256


def test_from_python_ctrl_c_ends_a_run_at_once_so_that_a_loop_ends_as_well(place, heeded):
    with pytest.raises(KeyboardInterrupt):
        place.run(**FIELDS, observers=[Interrupts(2, softly=True)])
    assert place.statuses() == ["KILLED"]


def test_a_run_of_an_object_of_the_callers_asks_for_it_again(place, each_epoch):
    broken = interrupted(place, 3, dataset=toy())
    with pytest.raises(RequestError, match="was trained with a Python object") as caught:
        regplug.resume(broken.run_id)
    assert "regplug.resume(run, model=..., dataset=...)" in caught.value.hint
    resumed, whole = regplug.resume(broken.run_id, dataset=toy()), place.run(**FIELDS | {"dataset": toy()})
    assert resumed.state_sha256 == whole.state_sha256


def test_a_checkpoint_that_cannot_be_written_is_told_once_and_does_not_end_the_run(place, each_epoch):
    Path("mlruns/checkpoints").write_text("a file where the folder should be")
    observer = Interrupts(0)
    assert place.run(**FIELDS, observers=[observer]).status == "FINISHED"
    (told,) = observer.told
    assert told.startswith("A checkpoint could not be written to ")


def test_a_checkpoint_is_written_even_where_no_thread_can_be_started(tmp_path, monkeypatch):
    def refused(self):
        raise RuntimeError("can't start new thread")

    monkeypatch.setattr(threading.Thread, "start", refused)
    with Checkpoints(tmp_path / "c.pt", 1e-9, pytest.fail) as saving:
        saving.offer(lambda: {"epoch": 1}, must=True)
    assert read_checkpoint(tmp_path / "c.pt")["epoch"] == 1


def test_checkpoints_take_at_most_a_fiftieth_of_the_time(tmp_path):
    with Checkpoints(tmp_path / "c.pt", 1e-9, pytest.fail) as saving:
        saving.offer(lambda: time.sleep(0.05) or {"epoch": 1}, must=True)
        saving.offer(lambda: {"epoch": 2})
    assert read_checkpoint(tmp_path / "c.pt")["epoch"] == 1


def test_what_cannot_be_resumed_is_refused(place, each_epoch, terminal):
    finished = place.run(**{**FIELDS, "epochs": 1})
    with pytest.raises(RequestError, match="is finished"):
        regplug.resume(finished.run_id)
    with pytest.raises(RequestError, match="There is no run"):
        regplug.resume("nothing")
    said = terminal("runs", "resume", finished.run_id)
    assert said.code == 2
    assert "is finished" in said.err


def test_a_broken_checkpoint_is_refused_and_the_run_stays_as_it_is(place, each_epoch):
    broken = interrupted(place, 3)
    (file,) = Path("mlruns/checkpoints").iterdir()
    file.write_bytes(b"no checkpoint")
    with pytest.raises(RequestError, match="cannot be read") as caught:
        regplug.resume(broken.run_id)
    assert str(file.absolute()) in caught.value.hint
    assert place.only_run().status == "KILLED"


def test_data_that_have_changed_are_refused(place, each_epoch, tmp_path):
    table = tmp_path / "t.csv"
    rows = [f"{n % 7},{n % 5},{n % 2}" for n in range(90)]
    table.write_text("a,b,label\n" + "\n".join(rows))
    broken = interrupted(place, 2, dataset=str(table), target="label")
    table.write_text("a,b,label\n" + "\n".join(["9,9,1", *rows[1:]]))
    with pytest.raises(DataError, match=r"is not the one that run .* was trained on"):
        regplug.resume(broken.run_id)
    assert place.only_run().status == "KILLED"


COMMAND = (sys.executable, "-m", "regplug")
RUN = (
    *("run", "--model", "mlp:hidden=[32]", "--reg", "dropout", "--reg", "batchnorm", "--reg", "swa", "--dataset"),
    *("digits", "--epochs", "25", "--checkpoint-every", "0.001", "--optimizer", "adam", "--lr", "0.01", "--json"),
    *("--format", "torchscript"),
)


def begun(name):
    """The run of this name, once it has its configuration."""
    store = open_store()
    found = [run for run in store.runs() if run.name == name]
    return found[0] if found and "config.toml" in store.artifact_names(found[0].run_id) else None


@pytest.mark.parametrize(
    "kills", [pytest.param(2, marks=pytest.mark.slow), pytest.param(20, marks=pytest.mark.full)], ids="{} kills".format
)
def test_runs_that_are_killed_at_any_moment_resume_to_the_same_weights(place, kills, terminal):
    whole = terminal(*RUN, "--out", "whole").document
    for number, draw in enumerate(np.random.default_rng(kills).uniform(0, 1.5 * sum(whole["seconds"].values()), kills)):
        name = f"killed {number}"
        command = (*COMMAND, *RUN, "--name", name, "--out", f"bundle{number}")
        with subprocess.Popen(command, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL) as process:
            wait_until(lambda name=name: begun(name), process)
            time.sleep(draw)
            process.kill()
        left = begun(name)
        if left.status != "FINISHED":
            said = terminal("runs", "resume", left.run_id, "--json")
            assert said.code == 0, said.err
            assert said.document["state_sha256"] == whole["state_sha256"]
            assert said.document["verification"]["passed"]
        assert points(left.run_id) == points(whole["run_id"])


def test_a_disk_that_is_full_while_a_checkpoint_is_written_does_not_end_the_run(place, each_epoch):
    Path("mlruns").mkdir(exist_ok=True)
    fields = {**FIELDS, "model": "mlp:hidden=[300,300]", "epochs": 2}
    observer = Interrupts(0)
    with mounted(place.folder / "mlruns" / "checkpoints", 256 * KIB) as disk:
        assert place.run(**fields, observers=[observer]).status == "FINISHED"
        assert list(disk.iterdir()) == []
    (told,) = observer.told
    assert told.startswith("A checkpoint could not be written to ")
    assert "The run continues" in told
