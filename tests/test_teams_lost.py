"""A team's server that is lost in the middle: what is told, how soon, what is kept on disk and delivered later."""

from __future__ import annotations

import signal
import stat
import subprocess
import sys
import threading
import time

import pytest
from cli_calls import Terminal
from postgres import PASSWORD, postgres  # noqa: F401 - the fixture
from tracking_server import ADMIN, ADMIN_PASSWORD, Server
from trainings import toy
from waiting import wait_until

import regplug
from regplug.errors import TrackingLostError
from regplug.runs.results import Observer
from regplug.studies.results import StudyObserver
from regplug.tracking import open_store

pytestmark = pytest.mark.slow

TOLD_WITHIN_S = 10.0
EPOCHS = 6
RUN = {"dataset": toy(), "model": "linear", "epochs": EPOCHS}


@pytest.fixture(scope="module")
def team(postgres, tmp_path_factory):  # noqa: F811
    made = Server(tmp_path_factory.mktemp("team"), postgres.uri, has_users=True)
    yield made
    made.kill()


@pytest.fixture(autouse=True)
def here(team, monkeypatch, tmp_path):
    """An empty folder in which MLflow's variables name the server and a user."""
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("MLFLOW_TRACKING_URI", team.address)
    monkeypatch.setenv("MLFLOW_TRACKING_USERNAME", ADMIN)
    monkeypatch.setenv("MLFLOW_TRACKING_PASSWORD", ADMIN_PASSWORD)
    return tmp_path


class Loses(Observer):
    """Loses the server after the second epoch, and goes on when that is told."""

    def __init__(self, lose, find=None):
        self._lose, self._find = lose, find
        self.told, self.epochs, self.seconds = [], 0, 0.0

    def epoch_ended(self, record):
        self.epochs = record.epoch
        if record.epoch == 2:
            began = time.monotonic()
            self._lose()
            wait_until(lambda: self.told)
            self.seconds = time.monotonic() - began
        if record.epoch == 4 and self._find is not None:
            self._find()
            wait_until(lambda: len(self.told) == 2)

    def warned(self, message):
        self.told.append(message)


def assert_whole(run_id, epochs=EPOCHS):
    """The run has each point once, its files and its end."""
    store = open_store()
    info = store.find_run(run_id)
    assert info.status == "FINISHED"
    assert "regplug.error" not in info.tags
    for name in info.metrics:
        steps = [point.step for point in store.metric_history(run_id, name)]
        assert len(set(steps)) == len(steps), name
    assert [point.step for point in store.metric_history(run_id, "train/objective")] == list(range(1, epochs + 1))
    assert {"config.toml", "state.pt", "curves.png"} <= set(store.artifact_names(run_id))
    return store, info


def only_the_user_can_read(folder):
    """Whether a folder, or one that it lies in, is closed to all others."""
    return stat.S_IMODE(folder.stat().st_mode) == 0o700


def test_a_killed_server_gets_the_whole_run_later(team, here, capsys):
    observer = Loses(team.kill)
    try:
        with pytest.raises(TrackingLostError, match="regplug runs sync") as caught:
            regplug.run(**RUN, format=["onnx"], observers=[observer])
        assert observer.seconds < TOLD_WITHIN_S
        assert observer.epochs == EPOCHS
        (kept,) = (here / "mlruns" / "undelivered").iterdir()
        assert str(kept) in caught.value.message
        assert only_the_user_can_read(kept)
        assert {stat.S_IMODE(path.stat().st_mode) for path in kept.glob("*.json*")} == {0o600}
        secrets = (ADMIN_PASSWORD.encode(), PASSWORD.encode())
        texts = [path.read_bytes() for path in here.rglob("*") if path.is_file()]
        assert not any(secret in text for secret in secrets for text in texts)
        unsynced = Terminal(capsys)("runs", "sync")
        assert unsynced.code == 2
        assert kept.exists()
    finally:
        team.start()
    said = Terminal(capsys)("runs", "sync", "--json")
    assert said.code == 0, said.err
    (run,) = said.document["runs"]
    assert (run["run_id"], run["status"], run["left"]) == (caught.value.result.run_id, "FINISHED", None)
    assert run["delivered"]["models"] == 1
    store, _ = assert_whole(run["run_id"])
    assert "bundle/manifest.json" in store.artifact_names(run["run_id"], "bundle")
    assert "Everything is delivered" in Terminal(capsys)("runs", "sync").out


def test_a_server_that_stops_for_a_while_is_told_in_time_and_misses_nothing(team, here):
    stopped = team.stopped()
    observer = Loses(stopped.__enter__, lambda: stopped.__exit__(None, None, None))
    result = regplug.run(**RUN, export=False, observers=[observer])
    assert observer.seconds < TOLD_WITHIN_S
    assert "cannot be written" in observer.told[0]
    assert "can be written again" in observer.told[1]
    assert_whole(result.run_id)
    assert list((here / "mlruns" / "undelivered").iterdir()) == []


class LosesStudy(StudyObserver):
    """Stops the server when the runs of a study begin."""

    def __init__(self, lose):
        self._lose, self.told, self.ended = lose, [], None

    def study_started(self, info):
        self._lose()

    def warned(self, message):
        self.told.append(message)

    def study_ended(self, ended):
        self.ended = ended


def test_a_study_whose_server_stops_is_finished_and_delivered_later(team, here, capsys):
    study = {**RUN, "grid": ["lr=0.1,0.2"], "seeds": 2}
    stopped = team.stopped()
    observer = LosesStudy(stopped.__enter__)
    try:
        with pytest.raises(TrackingLostError, match="regplug runs sync") as caught:
            regplug.sweep(**study, observers=[observer])
    finally:
        stopped.__exit__(None, None, None)
    assert "cannot be written" in observer.told[0]
    assert any("is not trained again" in told for told in observer.told)
    assert observer.ended.runs == 4
    # A write that was given up may go on when the server does; until it has ended, the run is left alone.
    wait_until(lambda: Terminal(capsys)("runs", "sync", "--json").document["left"] == 0)
    assert list((here / "mlruns" / "undelivered").iterdir()) == []
    store = open_store()
    info = store.find_run(caught.value.result.study_id)
    children = store.runs(info.experiment, parent=info.run_id)
    assert [child.status for child in (info, *children)] == ["FINISHED"] * 5
    assert len({child.tags["regplug.study.point"] for child in children}) == 4
    assert "report.html" in store.artifact_names(info.run_id)


KILLED = """
import sys
sys.path.insert(0, sys.argv[1])
from test_teams_lost import RUN
import regplug, time
from regplug.runs.results import Observer

class Slow(Observer):
    def run_started(self, info):
        print(info.run_id, flush=True)
    def epoch_ended(self, record):
        print(record.epoch, flush=True)
        time.sleep(0.2)

regplug.run(**{**RUN, "epochs": 100000, "export": False}, observers=[Slow()])
"""


def test_a_process_killed_while_the_server_is_lost_leaves_what_two_syncs_at_once_deliver(team, here, capsys):
    command = [sys.executable, "-c", KILLED, str(__file__).rpartition("/")[0]]
    with subprocess.Popen(command, stdout=subprocess.PIPE, text=True, cwd=here) as process:
        run_id = process.stdout.readline().strip()
        assert process.stdout.readline() == "1\n"
        with team.stopped():
            wait_until(lambda: list(here.glob("mlruns/undelivered/*/records.jsonl")), process)
            told = int(process.stdout.readline())
            time.sleep(1.0)
            busy = threading.Thread(target=process.kill)
            busy.start()
            epochs = [told, *(int(line) for line in process.stdout if line.strip())]
            busy.join()
    assert process.wait() == -signal.SIGKILL
    syncs = [subprocess.Popen([sys.executable, "-m", "regplug", "runs", "sync"], cwd=here) for _ in range(2)]
    assert [sync.wait() for sync in syncs] == [0, 0]
    store = open_store()
    info = store.find_run(run_id)
    assert info.status == "KILLED"
    points = [point.step for point in store.metric_history(run_id, "train/objective")]
    # The epoch in which it was killed is not there, all others are, once.
    assert points == list(range(1, len(points) + 1))
    assert len(points) >= max(epochs) - 1
    assert not list(here.glob("mlruns/undelivered/*"))
