"""Stores for the tests of tracking: a schema takes a second to create, so it is created once and copied."""

from __future__ import annotations

import functools
import subprocess
import sys
import tempfile
import time
from pathlib import Path

from regplug.tracking import open_store
from regplug.tracking.run import TrackedRun
from regplug.tracking.store import Store

WRITER = """
import sys, time
from pathlib import Path
from regplug.tracking import open_store

def write(name, steps, then):
    store = open_store(folder=Path(sys.argv[1]))
    with store.start_run(experiment="writers", name=name, params={"lr": 0.1}, tags={}) as run:
        for step in range(steps):
            run.log_metrics({"train/loss": step / 3, "valid/loss": step / 7}, step=step)
            if step % 50 == 49:
                run.flush()
        run.log_text("done", "note.txt")
        if then == "wait":
            print(run.run_id, flush=True)
            run.log_metrics({"lost/with/the/process": 1.0}, step=0)
            time.sleep(600)
"""

ONE_WRITER = f"{WRITER}\nwrite('killed', 100, 'wait')"

# They are forked once everything is imported, so that they meet the fresh store at the same moment.
EIGHT_WRITERS = f"""{WRITER}
import multiprocessing
import mlflow.store.tracking.sqlalchemy_store, alembic.command

if __name__ == "__main__":
    fork = multiprocessing.get_context("fork")
    writers = [fork.Process(target=write, args=(f"writer {{index}}", 400, "end")) for index in range(8)]
    [writer.start() for writer in writers]
    [writer.join() for writer in writers]
    sys.exit(max(abs(writer.exitcode) for writer in writers))
"""


@functools.cache
def prepared_database() -> bytes:
    """The file of a store in which nothing is tracked."""
    with tempfile.TemporaryDirectory() as place:
        store = open_store(folder=Path(place))
        store._sql_store.engine.dispose()
        return (Path(place) / "mlruns" / "mlflow.db").read_bytes()


def copied_store(folder: Path) -> Store:
    """Opens a store in `folder` which was created before."""
    (folder / "mlruns").mkdir()
    (folder / "mlruns" / "mlflow.db").write_bytes(prepared_database())
    return open_store(folder=folder)


def start(store: Store, name: str = "mlp seed 0", **more) -> TrackedRun:
    """Starts a run of which the test says only what matters to it."""
    return store.start_run(**{"experiment": "digits/mlp", "name": name, "params": {"lr": 0.1}, "tags": {}, **more})


def insert_before(monkeypatch, insert):
    """Lets another writer insert its dataset between MLflow's look and MLflow's insert; returns what is still to do."""
    from sqlalchemy.orm import Session

    add_all, left = Session.add_all, [insert]

    def after_the_other(session, rows):
        if left and any(type(row).__name__ == "SqlDataset" for row in rows):
            left.pop()()
        add_all(session, rows)

    monkeypatch.setattr(Session, "add_all", after_the_other)
    return left


def wait_until(is_so, timeout_s=60.0):
    """Waits for something that another thread or process does."""
    until = time.monotonic() + timeout_s
    while not is_so():
        assert time.monotonic() < until, "it did not happen"
        time.sleep(0.05)


def start_writers(folder: Path, code: str) -> subprocess.Popen[str]:
    """Starts a process that tracks as `ONE_WRITER` or `EIGHT_WRITERS` says."""
    command = [sys.executable, "-c", code, str(folder)]
    return subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True)
