"""PostgreSQL as the store of a team: what is written, what is lost, and that its password is nowhere."""

from __future__ import annotations

import time
from contextlib import ExitStack

import pytest
from cli_calls import Terminal
from postgres import PASSWORD, postgres  # noqa: F401 - the fixture
from tracking_stores import insert_before, start, wait_until
from trainings import toy

import regplug
from regplug.errors import TrackingError, TrackingLostError
from regplug.runs.results import Observer
from regplug.tracking import open_store

pytestmark = pytest.mark.slow


@pytest.fixture(autouse=True)
def _here(monkeypatch, tmp_path):
    monkeypatch.chdir(tmp_path)
    monkeypatch.delenv("MLFLOW_TRACKING_URI", raising=False)
    monkeypatch.delenv("MLFLOW_EXPERIMENT_NAME", raising=False)


@pytest.fixture
def store(postgres):  # noqa: F811
    return open_store(postgres.uri)


def everything_in(store):
    """Every value of every table, as one text."""
    import sqlalchemy

    engine, tables = store._sql_store.engine, sqlalchemy.MetaData()
    tables.reflect(engine)
    with engine.connect() as connection:
        return "\n".join(str(row) for table in tables.sorted_tables for row in connection.execute(table.select()))


def test_the_password_is_in_no_message_no_document_no_file_and_no_table(postgres, store, capsys, tmp_path):  # noqa: F811
    terminal, small = Terminal(capsys), ("--model", "linear", "--epochs", "1", "--tracking-uri", postgres.uri)
    said = [
        terminal("run", *small, "--format", "onnx"),
        terminal("run", *small, "--no-export", "--json"),
        terminal("run", *small, "--model", "mlp", "--lr", "1e30", "--no-export"),
        terminal("sweep", *small, "--no-export", "--grid", "lr=0.1,0.2", "--seeds", "2"),
        terminal("sweep", *small, "--no-export", "--grid", "lr=0.1,0.2", "--seeds", "2", "--json"),
        terminal("runs", "list", "--tracking-uri", postgres.uri),
        terminal("compare", "digits/linear", "--tracking-uri", postgres.uri, "--metric", "test/accuracy"),
    ]
    assert [each.code for each in said] == [0, 0, 1, 0, 0, 0, 0], said[-1].err
    files = [path for path in tmp_path.rglob("*") if path.is_file()]
    assert {"config.toml", "report.html", "manifest.json"} <= {path.name for path in files}
    texts = [*(each.out + each.err for each in said), everything_in(store)]
    assert not any(PASSWORD in text for text in texts)
    assert not any(PASSWORD.encode() in path.read_bytes() for path in files)
    assert f"postgresql://regplug:***@127.0.0.1:{postgres.port}/postgres" in said[0].out


def test_a_wrong_password_is_told_without_it(postgres):  # noqa: F811
    wrong = postgres.uri.replace(PASSWORD, "an0ther-0ne")
    with pytest.raises(TrackingError, match="password authentication failed") as caught:
        open_store(wrong)
    assert "an0ther-0ne" not in str(caught.value)


def test_a_dataset_that_another_process_inserts_in_the_same_moment_is_found(store, monkeypatch):
    run, rival = start(store), start(store, name="rival")
    data = ("digits", "same digest", "regplug:digits")
    late = insert_before(monkeypatch, lambda: rival.log_dataset(*data))
    with rival, run:
        run.log_dataset(*data)
    assert not late
    assert store.dataset_digests(run.run_id) == store.dataset_digests(rival.run_id) == {"digits": "same digest"}


class Restarts(Observer):
    """Kills the database when an epoch is done, and starts it again when that was told."""

    def __init__(self, database):
        self._database, self.told = database, []

    def epoch_ended(self, record):
        if record.epoch == 2:
            self._database.kill()
            wait_until(lambda: self.told)
            self._database.start()
            wait_until(lambda: len(self.told) == 2)

    def warned(self, message):
        self.told.append(message)


def test_a_database_that_goes_down_and_comes_back_loses_nothing(postgres, store):  # noqa: F811
    observer = Restarts(postgres)
    fields = {"dataset": toy(), "model": "linear", "epochs": 4, "export": False}
    result = regplug.run(**fields, tracking_uri=postgres.uri, observers=[observer])
    assert "cannot be written" in observer.told[0]
    assert "can be written again" in observer.told[1]
    assert result.warnings[-2:] == tuple(observer.told)
    assert PASSWORD not in "".join(observer.told)
    assert store.find_run(result.run_id).status == result.status == "FINISHED"
    assert len(store.metric_history(result.run_id, "train/objective")) == 4


class Stops(Observer):
    """Stops the database when an epoch is done, and goes on when that was told."""

    def __init__(self, stop):
        self._stop, self.told, self.seconds = stop, [], 0.0

    def epoch_ended(self, record):
        if record.epoch == 2:
            began = time.monotonic()
            self._stop()
            wait_until(lambda: self.told)
            self.seconds = time.monotonic() - began

    def warned(self, message):
        self.told.append(message)


def test_a_database_that_does_not_answer_any_more_holds_nothing_up_and_gets_the_rest_later(postgres, capsys, tmp_path):  # noqa: F811
    fields = {"dataset": toy(), "model": "linear", "epochs": 4, "export": False, "tracking_uri": postgres.uri}
    with ExitStack() as stack:
        observer = Stops(lambda: stack.enter_context(postgres.stopped()))
        with pytest.raises(TrackingLostError, match="regplug runs sync") as caught:
            regplug.run(**fields, observers=[observer])
    assert observer.seconds < 10
    assert not any(PASSWORD.encode() in path.read_bytes() for path in tmp_path.rglob("*") if path.is_file())
    said = Terminal(capsys)("runs", "sync", "--tracking-uri", postgres.uri)
    assert said.code == 0, said.err
    store = open_store(postgres.uri)
    run_id = caught.value.result.run_id
    assert store.find_run(run_id).status == "FINISHED"
    assert [point.step for point in store.metric_history(run_id, "train/objective")] == [1, 2, 3, 4]
