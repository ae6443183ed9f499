"""Eight processes that train one run after another into one store.

Called as `many_writers.py FOLDER RUNS`, with the store in `MLFLOW_TRACKING_URI` or by default in the folder. Prints a
JSON document of what became of the runs; whatever a run warns of is printed on stderr.
"""

from __future__ import annotations

import importlib
import json
import multiprocessing
import os
import sys
import time
from pathlib import Path

from shortcuts import not_drawing
from trainings import toy

import regplug
from regplug.reports.plots import curves_png
from regplug.runs.results import Observer
from regplug.tracking import open_store

PROCESSES = 8
EPOCHS = 3
METRICS = ("train/objective", "valid/loss", "test/loss")


class Tells(Observer):
    def warned(self, message):
        sys.stderr.write(f"{message}\n")


def write(barrier, first, count):
    barrier.wait()
    for seed in range(first, first + count):
        fields = {"dataset": toy(), "model": "linear", "epochs": EPOCHS, "experiment": "writers", "export": False}
        regplug.run(**fields, name=f"writer {seed}", seed=seed, checkpoint_every=0, observers=[Tells()])


def lacks(store, run):
    """What a run lacks: its end, its data, a file, or a point; nothing if it is whole."""
    points = {name: [point.step for point in store.metric_history(run.run_id, name)] for name in METRICS}
    wrong = [f"{name} at {steps}" for name, steps in points.items() if steps != list(range(1, EPOCHS + 1))]
    wrong += sorted({"config.toml", "curves.png", "state.pt"} - set(store.artifact_names(run.run_id)))
    wrong += [] if store.dataset_digests(run.run_id) else ["dataset"]
    return [*wrong, *([] if run.status == "FINISHED" else [run.status])]


def main(folder, count):
    os.chdir(folder)
    fork = multiprocessing.get_context("fork")
    barrier = fork.Barrier(PROCESSES, timeout=60)
    writers = [fork.Process(target=write, args=(barrier, number * count, count)) for number in range(PROCESSES)]
    began = time.monotonic()
    for writer in writers:
        writer.start()
    for writer in writers:
        writer.join()
    seconds = time.monotonic() - began
    # Read when nobody is forked any more: a store that is open does not survive that.
    store = open_store()
    runs = store.runs("writers", limit=None)
    lacking = {run.name: found for run in runs if (found := lacks(store, run))}
    document = {
        "runs": PROCESSES * count,
        "names": len({run.name for run in runs}),
        "lacking": lacking,
        "exit_codes": sorted({writer.exitcode for writer in writers}),
        "seconds": seconds,
    }
    sys.stdout.write(json.dumps(document) + "\n")


if __name__ == "__main__":
    # What takes a second in each process is done before they are forked.
    for name in ("mlflow.store.tracking.sqlalchemy_store", "sklearn.metrics", "regplug.runs.runner"):
        importlib.import_module(name)
    curves_png({"train/loss": [(1, 1.0), (2, 0.5)]})
    with not_drawing():
        main(Path(sys.argv[1]), int(sys.argv[2]))
