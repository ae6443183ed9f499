"""Eight processes that begin a run in one fresh store at the same moment, with the same data, again and again.

Called as `writers_race.py FOLDER ROUNDS`; prints a JSON document of what became of the runs.
"""

from __future__ import annotations

import importlib
import json
import multiprocessing
import os
import sys
from collections import Counter
from pathlib import Path

from shortcuts import not_drawing
from trainings import toy

import regplug
from regplug.errors import RegplugError
from regplug.reports.plots import curves_png
from regplug.tracking import open_store
from regplug.tracking.run import TrackedRun

PROCESSES = 8
EPOCHS = 3


def together(barrier):
    """All processes log their data in the same moment, when none of it is in the store yet."""
    log_dataset = TrackedRun.log_dataset

    def log_at_once(self, *args, **kwargs):
        barrier.wait()
        log_dataset(self, *args, **kwargs)

    TrackedRun.log_dataset = log_at_once


def write(folder, barrier, seed):
    os.chdir(folder)
    together(barrier)
    barrier.wait()
    try:
        regplug.run(dataset=toy(), model="linear", epochs=EPOCHS, seed=seed, probe=(), export=False)
    except RegplugError as error:
        sys.stderr.write(f"{error}\n")
        sys.exit(1)


def race(folder):
    """Lets the processes begin together in a fresh store; returns their exit codes."""
    folder.mkdir()
    fork = multiprocessing.get_context("fork")
    barrier = fork.Barrier(PROCESSES, timeout=60)
    writers = [fork.Process(target=write, args=(folder, barrier, seed)) for seed in range(PROCESSES)]
    for writer in writers:
        writer.start()
    for writer in writers:
        writer.join()
    return [writer.exitcode for writer in writers]


def is_whole(store, run):
    """Whether a run has its data, its last metrics and one point for every epoch."""
    epochs = store.metric_history(run.run_id, "train/objective")
    return len(epochs) == EPOCHS and "test/accuracy" in run.metrics and bool(store.dataset_digests(run.run_id))


def main(place, rounds):
    folders = [place / str(number) for number in range(rounds)]
    codes = Counter(code for folder in folders for code in race(folder))
    # Read when nobody is forked any more: a store that is open does not survive that.
    stores = [open_store(folder=folder) for folder in folders]
    runs = [(store, run) for store in stores for run in store.runs()]
    document = {
        "runs": PROCESSES * rounds,
        "finished": sum(run.status == "FINISHED" for _, run in runs),
        "whole": sum(is_whole(store, run) for store, run in runs),
        "exit_codes": codes,
    }
    sys.stdout.write(json.dumps(document) + "\n")


if __name__ == "__main__":
    # What takes a second in each process is done before they are forked.
    for name in ("mlflow.store.tracking.sqlalchemy_store", "sklearn.metrics", "regplug.runs.runner"):
        importlib.import_module(name)
    curves_png({"train/loss": [(1, 1.0), (2, 0.5)]})
    with not_drawing():
        main(Path(sys.argv[1]), int(sys.argv[2]))
