"""A store that is lost in the middle of a run: what is told, how soon, and what is kept."""

from __future__ import annotations

import os
import socket
import threading
import time
from functools import partial

import pytest
from tracking_stores import copied_store, start, wait_until
from trainings import toy

import regplug
from regplug.errors import TrackingError, TrackingLostError
from regplug.runs.results import Observer
from regplug.studies.results import StudyObserver
from regplug.tracking import delivery, open_store
from regplug.tracking.delivery import Delivery
from regplug.tracking.keeping import Keeping
from regplug.tracking.outbox import Outbox, taken
from regplug.tracking.patience import AT_THE_ENDS, Patience, bounded
from regplug.tracking.records import Call

VARIABLES = ("MLFLOW_HTTP_REQUEST_TIMEOUT", "MLFLOW_HTTP_REQUEST_MAX_RETRIES")


@pytest.fixture(autouse=True)
def _no_environment(monkeypatch):
    # A write that an earlier test gave up still holds MLflow's timeouts until it fails.
    wait_until(lambda: not set(VARIABLES) & set(os.environ))
    for name in ("MLFLOW_TRACKING_URI", "MLFLOW_EXPERIMENT_NAME", *VARIABLES):
        monkeypatch.delenv(name, raising=False)


@pytest.fixture(scope="module")
def store(tmp_path_factory):
    return copied_store(tmp_path_factory.mktemp("lost"))


class Ends(Observer):
    """Kills a server when so many epochs are done, and goes on slowly until that is told."""

    def __init__(self, server, epoch=2):
        self._server, self._epoch = server, epoch
        self.told, self.killed_at, self.told_at, self.epochs = [], None, None, 0

    def epoch_ended(self, record):
        self.epochs = record.epoch
        if record.epoch == self._epoch:
            self._server.kill()
            self.killed_at = time.monotonic()
            wait_until(lambda: self.told)

    def warned(self, message):
        self.told_at = self.told_at or time.monotonic()
        self.told.append(message)


@pytest.mark.slow
def test_a_server_killed_in_a_run_is_told_within_ten_seconds_and_the_run_goes_on(server, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    observer = Ends(server)
    uri = server.address.replace("http://", "http://me:secret@")
    fields = {"dataset": toy(), "model": "linear", "epochs": 20, "export": False, "tracking_uri": uri}
    with pytest.raises(TrackingLostError, match="There the run is still RUNNING") as caught:
        regplug.run(**fields, observers=[observer])
    assert observer.told_at - observer.killed_at < 10
    assert "cannot be written" in observer.told[0]
    assert observer.epochs == 20
    result = caught.value.result
    assert (result.status, result.store_status, caught.value.exit_code) == ("FAILED", "RUNNING", 1)
    assert 0 <= result.metrics["test/accuracy"] <= 1
    assert "metric values, " in caught.value.message
    assert "state.pt" in caught.value.message
    assert "secret" not in f"{caught.value} {observer.told} {result.document()}"


@pytest.mark.slow
def test_a_server_that_does_not_answer_any_more_is_told_within_its_timeout(monkeypatch):
    from mlflow import MlflowClient
    from mlflow.entities import Metric

    monkeypatch.setattr(delivery, "WHILE_TRAINING", Patience(1))
    monkeypatch.setattr(delivery, "AT_THE_ENDS", Patience(1))
    with socket.create_server(("127.0.0.1", 0)) as mute:
        sent = Delivery(MlflowClient(f"http://127.0.0.1:{mute.getsockname()[1]}"), "0" * 32, "the store")
        told = []
        sent.tell = told.append
        sent.start()
        began = time.monotonic()
        sent.put(metrics=[Metric("x", 1.0, 0, 0)])
        wait_until(lambda: told)
        assert time.monotonic() - began < 10
        assert sent.stop() == ["1 metric values"]
    assert "timed out" in told[0]


def test_a_long_epoch_shows_that_the_run_lives(store, monkeypatch):
    monkeypatch.setattr(delivery, "HEARTBEAT_EVERY_S", 0.5)
    with start(store) as run:
        before = store.find_run(run.run_id).tags["regplug.heartbeat"]
        wait_until(lambda: store.find_run(run.run_id).tags["regplug.heartbeat"] > before)


def test_what_the_store_refuses_is_raised_and_not_sent_for_ever(store):
    run = start(store, params={"lr": 0.1})

    def log():
        with run:
            run.log_params({"lr": 0.2})
            run.flush()

    with pytest.raises(TrackingError, match="Changing param values is not allowed"):
        log()
    assert store.find_run(run.run_id).status == "FAILED"


class Falls(StudyObserver):
    """Lets the store fail once a study has started."""

    def __init__(self, monkeypatch):
        self._monkeypatch, self.told, self.ended = monkeypatch, [], None

    def study_started(self, info):
        def fall(*_, **__):
            raise ConnectionError("Connection refused")

        for name in ("set_terminated", "log_batch", "log_text", "log_artifact", "set_tag"):
            self._monkeypatch.setattr(f"mlflow.MlflowClient.{name}", fall)
        self._monkeypatch.setattr("regplug.tracking.tables.write_children", fall)

    def warned(self, message):
        self.told.append(message)

    def study_ended(self, ended):
        self.ended = ended


def test_a_study_whose_store_is_lost_is_trained_compared_and_tells_that_nothing_is_kept(place, monkeypatch):
    study = {"dataset": toy(), "model": "linear", "epochs": 2, "grid": ["lr=0.1,0.2"], "seeds": 2, "export": False}
    with monkeypatch.context() as patch:
        observer = Falls(patch)
        with pytest.raises(TrackingLostError, match=r"does not have: .*runs of the study.* still RUNNING") as caught:
            regplug.sweep(**study, observers=[observer])
    assert len(observer.told) == 2
    assert (observer.ended.kept, observer.ended.runs, observer.ended.store_status) == (0, 4, "RUNNING")
    assert caught.value.result.best
    assert [each.run_id for each in caught.value.result.results] == [""] * 4
    again = regplug.sweep(**study)
    assert all(each.run_id for each in again.results)


# How long MLflow waits.


def test_mlflow_waits_for_seconds_while_a_run_is_written_and_as_before_afterwards():
    with bounded(Patience(4)), bounded(AT_THE_ENDS):
        assert [os.environ[name] for name in VARIABLES] == [str(AT_THE_ENDS.timeout_s), "1"]
    assert not set(VARIABLES) & set(os.environ)


def test_what_the_user_has_set_wins(monkeypatch):
    monkeypatch.setenv("MLFLOW_HTTP_REQUEST_TIMEOUT", "77")
    with bounded(Patience(4)):
        assert [os.environ[name] for name in VARIABLES] == ["77", "1"]
    assert os.environ["MLFLOW_HTTP_REQUEST_TIMEOUT"] == "77"


# Runs whose process is gone.


def test_runs_of_other_machines_and_of_living_processes_are_left_alone(store):
    with start(store) as mine:
        theirs = store._client.create_run(
            mine.experiment_id, tags={"regplug.process": "elsewhere/1:1:1", "regplug.heartbeat": "100"}
        )
        open_store(store.location.uri)
        assert store.find_run(mine.run_id).status == "RUNNING"
        other = store.find_run(theirs.info.run_id)
        assert (other.status, other.is_stale) == ("RUNNING", True)


def test_a_write_that_succeeds_after_it_was_given_up_stays_for_the_process_that_delivers_it(tmp_path):
    outbox = Outbox(tmp_path, {"run_id": "1", "name": "a run", "experiment_id": "0", "store": "a server"})
    keeping = Keeping(outbox)
    call = Call("files", "A file could not be logged", send=list, keep=lambda place: {"kind": "files"})
    keeping.add_call(call)
    keeping.end("FINISHED", "")
    keeping.release()
    with taken(outbox.path) as kept:
        keeping.drop_call(call)
        (write,) = kept.writes()
        kept.drop(write[0])


def test_nothing_is_delivered_twice_while_a_write_that_was_given_up_may_still_succeed(tmp_path, monkeypatch):
    monkeypatch.setattr(delivery, "_GIVE_UP_AFTER_S", 0.2)
    monkeypatch.setattr("regplug.tracking.reaching.STUCK_AFTER_S", 0.2)
    outbox = Outbox(tmp_path, {"run_id": "1", "name": "a run", "experiment_id": "0", "store": "a server"})
    answers, carried_out = threading.Event(), []

    def reach():
        if not answers.is_set():
            raise TrackingError("The server does not respond.")

    def send(name):
        assert answers.wait(30)
        carried_out.append(name)

    sending = Delivery(None, "1", "a server", outbox=outbox, reach=reach)
    monkeypatch.setattr(sending, "_send_records", lambda patience: None)
    sending.start()
    for name in ("first", "second"):
        sending.post(
            Call(name, "It could not be logged", send=partial(send, name), keep=lambda place: {"kind": "files"})
        )
    assert sending.stop() == ["first", "second"]
    assert sending.leave("FINISHED", "") == outbox.path
    with taken(outbox.path) as kept:
        assert kept is None
    answers.set()
    wait_until(lambda: not outbox.is_used)
    assert carried_out == ["first"]
    with taken(outbox.path) as kept:
        ((_, entry),) = kept.writes()
        assert entry["what"] == "second"
