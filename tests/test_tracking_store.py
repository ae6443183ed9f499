"""Where runs are kept, and what is told when that cannot be used."""

from __future__ import annotations

import os
import socket
import sqlite3
import subprocess
import sys
import tempfile
import threading
import time
from contextlib import closing
from http.server import BaseHTTPRequestHandler, HTTPServer
from pathlib import Path

import pytest
from tracking_stores import copied_store, prepared_database, start

from regplug.errors import TrackingError
from regplug.tracking import open_store, reaching, require_reachable, resolve_location
from regplug.tracking.trouble import explain

pytest_plugins = ["tracking_folder"]
pytestmark = pytest.mark.usefixtures("no_tracking_variables")

SOON_S = 60.0
"""What a busy machine may take; MLflow itself would try for a hundred seconds and more."""


def test_the_default_store_is_a_database_in_the_folder(store, folder):
    assert store.location.database == folder / "mlruns" / "mlflow.db"
    assert store.location.artifacts == (folder / "mlruns" / "artifacts").as_uri()
    with closing(sqlite3.connect(store.location.database)) as connection:
        assert connection.execute("PRAGMA journal_mode").fetchone() == ("wal",)


def test_what_a_process_killed_while_it_created_the_store_left_is_no_hindrance(tmp_path):
    (tmp_path / "mlruns").mkdir()
    (tmp_path / "mlruns" / "mlflow.db.lock").touch()
    (tmp_path / "mlruns" / "mlflow.db.new").write_text("half a schema")
    (tmp_path / "mlruns" / "mlflow.db").touch()
    assert open_store(folder=tmp_path).runs() == []
    assert not (tmp_path / "mlruns" / "mlflow.db.new").exists()


def test_a_database_that_mlflow_made_itself_is_taken_as_it_is(tmp_path):
    from mlflow import MlflowClient

    uri = f"sqlite:///{tmp_path}/theirs.db"
    (tmp_path / "theirs.db").write_bytes(prepared_database())
    theirs = MlflowClient(tracking_uri=uri)
    experiment = theirs.create_experiment("theirs", artifact_location=(tmp_path / "their files").as_uri())
    theirs.set_terminated(theirs.create_run(experiment, run_name="their run").info.run_id)
    store = open_store(uri)
    assert [info.name for info in store.runs("theirs")] == ["their run"]
    with start(store, experiment="theirs") as run:
        run.log_text("a", "a.txt")
    assert run.artifact_uri.startswith((tmp_path / "their files").as_uri())


def test_an_older_schema_is_told_with_the_command_that_upgrades_it(tmp_path):
    (tmp_path / "old.db").write_bytes(prepared_database())
    with closing(sqlite3.connect(tmp_path / "old.db")) as connection, connection:
        connection.execute("UPDATE alembic_version SET version_num = '451aebb31d03'")
    with pytest.raises(TrackingError, match="out-of-date") as caught:
        open_store(f"sqlite:///{tmp_path}/old.db")
    assert "mlflow db upgrade" in caught.value.hint


def test_the_environment_wins_over_the_default(monkeypatch, tmp_path):
    monkeypatch.setenv("MLFLOW_TRACKING_URI", "http://127.0.0.1:5000")
    assert resolve_location(folder=tmp_path).uri == "http://127.0.0.1:5000"


def test_what_is_asked_for_wins_over_the_environment(monkeypatch, tmp_path):
    monkeypatch.setenv("MLFLOW_TRACKING_URI", "http://127.0.0.1:5000")
    assert resolve_location("sqlite:///other/runs.db", tmp_path).database == tmp_path / "other" / "runs.db"


def test_a_relative_folder_becomes_an_absolute_address(monkeypatch, tmp_path):
    monkeypatch.chdir(tmp_path)
    location = resolve_location()
    assert location.uri == f"sqlite:///{tmp_path}/mlruns/mlflow.db"
    assert location.artifacts.startswith("file:///")


@pytest.mark.parametrize("uri", ["./mlruns", "mlruns", "file:///data/mlruns", "/data/mlruns"])
def test_a_store_of_plain_files_is_refused_with_the_next_step(uri):
    with pytest.raises(TrackingError, match="file store") as caught:
        resolve_location(uri)
    assert "sqlite:///mlruns/mlflow.db" in caught.value.hint


def test_a_folder_that_holds_a_store_of_plain_files_is_refused(tmp_path):
    (tmp_path / "mlruns" / "0").mkdir(parents=True)
    (tmp_path / "mlruns" / "0" / "meta.yaml").touch()
    with pytest.raises(TrackingError) as caught:
        resolve_location(folder=tmp_path)
    assert "mlflow migrate-filestore" in caught.value.hint


def test_a_store_in_memory_is_refused():
    with pytest.raises(TrackingError, match="nothing would be kept"):
        resolve_location("sqlite:///:memory:")


def test_a_server_that_is_down_is_told_within_seconds():
    with socket.socket() as unused:
        unused.bind(("127.0.0.1", 0))
        port = unused.getsockname()[1]
    began = time.monotonic()
    with pytest.raises(TrackingError, match=f"http://127.0.0.1:{port}"):
        open_store(f"http://127.0.0.1:{port}")
    assert time.monotonic() - began < SOON_S


@pytest.mark.parametrize(
    ("uri", "told"),
    [("http://127.0.0.1:{}", "cannot be used"), ("postgresql+psycopg://me@127.0.0.1:{}/runs", "timed out")],
)
def test_a_store_that_never_answers_is_told_within_the_timeout(uri, told, monkeypatch):
    monkeypatch.setattr(reaching, "REACH_TIMEOUT_S", 0.5)
    with socket.create_server(("127.0.0.1", 0)) as mute:
        began = time.monotonic()
        with pytest.raises(TrackingError, match=told):
            open_store(uri.format(mute.getsockname()[1]))
        assert time.monotonic() - began < SOON_S


@pytest.mark.parametrize("scheme", ["http", "postgresql"])
@pytest.mark.parametrize("check", [open_store, lambda uri: require_reachable(resolve_location(uri))])
def test_a_store_whose_name_does_not_resolve_is_told_within_seconds(scheme, check):
    began = time.monotonic()
    with pytest.raises(TrackingError, match=f"{scheme}://me:\\*\\*\\*@no-such-machine.invalid.* cannot be used"):
        check(f"{scheme}://me:secret@no-such-machine.invalid/runs")
    assert time.monotonic() - began < SOON_S


def test_a_proxy_whose_server_is_gone_is_no_server():
    class Gone(BaseHTTPRequestHandler):
        def do_GET(self):
            self.send_error(503)

        def log_message(self, *_): ...

    with HTTPServer(("127.0.0.1", 0), Gone) as proxy:
        threading.Thread(target=proxy.handle_request).start()
        with pytest.raises(TrackingError, match="503 Service Unavailable"):
            require_reachable(resolve_location(f"http://127.0.0.1:{proxy.server_port}"))


def test_a_server_that_answers_any_request_with_a_page_is_no_mlflow_server():
    class Welcomes(BaseHTTPRequestHandler):
        def do_POST(self):
            self.send_response(200)
            self.send_header("Content-Length", "15")
            self.end_headers()
            self.wfile.write(b"<html>Hi</html>")

        def do_GET(self):
            self.do_POST()

        def log_message(self, *_): ...

    with HTTPServer(("127.0.0.1", 0), Welcomes) as server:
        threading.Thread(target=server.serve_forever, daemon=True).start()
        with pytest.raises(TrackingError, match="its answer is not that of an MLflow server") as caught:
            open_store(f"http://127.0.0.1:{server.server_port}")
        server.shutdown()
    assert caught.value.hint.startswith("Check MLFLOW_TRACKING_URI")


GIVEN_UP = (
    "API request to http://h:40312/9403 failed with exception HTTPConnectionPool(host='h'): Max retries (Caused by "
)


@pytest.mark.parametrize(
    ("said", "reason", "hint"),
    [
        (
            f"{GIVEN_UP}ResponseError('too many 500 error responses'))",
            "too many 500 error",
            "See the log of the server",
        ),
        (f"{GIVEN_UP}ProtocolError('', Error(104, 'Connection reset by peer')))", "Connection reset", "Check MLFLOW"),
        ("API request to endpoint /x failed with error code 401 != 200.", "401 != 200", "Set MLFLOW_TRACKING_USERNAME"),
        ("403 Client Error: Forbidden for url: http://h/x", "403 Client Error", "Ask the server's owner"),
        ("RESOURCE_DOES_NOT_EXIST: Run with id=9401403 not found", "9401403", "Check MLFLOW_TRACKING_URI"),
    ],
)
def test_an_answer_of_a_server_is_told_shortly_with_the_step_that_it_calls_for(said, reason, hint):
    told = explain("Metrics could not be logged", RuntimeError(said))
    assert reason in told.message
    assert "HTTPConnectionPool" not in told.message
    assert told.hint.startswith(hint)


def test_a_database_server_that_is_down_is_told_within_seconds():
    began = time.monotonic()
    with pytest.raises(TrackingError, match="cannot be used"):
        open_store("postgresql://nobody@127.0.0.1:1/mlflow")
    assert time.monotonic() - began < SOON_S


def test_a_damaged_store_is_told_with_the_next_step(tmp_path):
    (tmp_path / "mlruns").mkdir()
    whole = prepared_database()
    (tmp_path / "mlruns" / "mlflow.db").write_bytes(whole[: len(whole) // 3])
    with pytest.raises(TrackingError, match="is malformed") as caught:
        open_store(folder=tmp_path)
    assert caught.value.hint.startswith("The file is damaged: restore a backup")


def test_a_file_that_is_no_database_is_told(tmp_path):
    (tmp_path / "notes.db").write_text("these are notes, and not a database at all\n" * 100)
    with pytest.raises(TrackingError, match="not a database"):
        open_store(f"sqlite:///{tmp_path}/notes.db")


def test_a_path_that_cannot_be_a_folder_is_told(tmp_path):
    (tmp_path / "mlruns").write_text("a file")
    with pytest.raises(TrackingError, match="cannot be used"):
        open_store(folder=tmp_path)


READ_ONLY = """
import os, sys
from pathlib import Path
# What is imported later may lie where only root may read.
import filelock
import mlflow.store.tracking.sqlalchemy_store
from regplug.errors import TrackingError
from regplug.tracking import open_store
if os.geteuid() == 0:
    os.setuid(65534)  # root may write anywhere
for folder in sys.argv[1:]:
    try:
        open_store(folder=Path(folder))
    except TrackingError as error:
        print(error)
"""


@pytest.fixture
def open_folder():
    """A folder that others may read; each session of pytest closes pytest's own folder to them anew."""
    with tempfile.TemporaryDirectory() as folder:
        Path(folder).chmod(0o755)
        yield Path(folder)


@pytest.mark.slow
@pytest.mark.skipif(os.name == "nt", reason="folders have other rights there")
def test_a_folder_that_cannot_be_written_is_told_before_the_training(open_folder):
    empty, used = places = [open_folder / name / "mlruns" for name in ("empty", "used")]
    for place in places:
        place.mkdir(parents=True)
    (used / "mlflow.db").write_bytes(prepared_database())
    (used / "mlflow.db").chmod(0o444)
    for place in places:
        place.chmod(0o555)
    # Both in one process, because its imports take seconds.
    command = [sys.executable, "-c", READ_ONLY, str(empty.parent), str(used.parent)]
    done = subprocess.run(command, capture_output=True, text=True, check=False)
    assert done.stdout.count("cannot be used") == 2, done.stderr
    assert done.stdout.count("Make the folder writable") == 2
    assert done.stdout.index(str(empty)) < done.stdout.index(str(used))


def test_who_only_reads_makes_no_store(tmp_path):
    with pytest.raises(TrackingError, match="Nothing is tracked here"):
        open_store(folder=tmp_path, is_read=True)
    assert list(tmp_path.iterdir()) == []


def test_new_runs_go_into_the_experiment_of_mlflows_variables(tmp_path, monkeypatch):
    store = copied_store(tmp_path)
    made = store.experiment_id("the team's")
    monkeypatch.setenv("MLFLOW_EXPERIMENT_ID", made)
    with start(store) as run:
        assert (run.experiment, run.experiment_id) == ("the team's", made)
    monkeypatch.setenv("MLFLOW_EXPERIMENT_NAME", "another")
    with pytest.raises(TrackingError, match="MLFLOW_EXPERIMENT_NAME is another, but MLFLOW_EXPERIMENT_ID is"):
        start(store)
    monkeypatch.delenv("MLFLOW_EXPERIMENT_ID")
    with start(store) as run:
        assert run.experiment == "another"


def test_an_experiment_id_that_does_not_exist_is_told(tmp_path, monkeypatch):
    monkeypatch.setenv("MLFLOW_EXPERIMENT_ID", "4711")
    with pytest.raises(TrackingError, match="no experiment with the id 4711") as caught:
        start(copied_store(tmp_path))
    assert "MLFLOW_EXPERIMENT_NAME" in caught.value.hint
