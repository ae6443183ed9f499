"""A study that is killed at random moments and begun again with the same call, in forked processes.

Called as `killed_study.py FOLDER KILLS SEED`; prints a JSON document of what it came to.
"""

from __future__ import annotations

import contextlib
import importlib
import json
import multiprocessing
import os
import random
import signal
import sqlite3
import sys
import time
from pathlib import Path

from shortcuts import not_drawing
from trainings import toy

import regplug
from regplug.studies.design.child_configs import POINT_TAG
from regplug.studies.results import StudyObserver
from regplug.studies.stacks import running

USED = (
    "mlflow.store.tracking.sqlalchemy_store", "sklearn.metrics", "scipy.stats", "matplotlib.backends.backend_agg",
    "matplotlib.backends.backend_svg", "regplug.studies.engine", "regplug.reports.judging",
)  # fmt: skip
"""Imported before the attempts are forked: for each of them, the imports would take longer than the study."""

STACK = 2
PAUSE_S = 0.05
STEPS = "steps"
"""File that has a letter for each step that an attempt has made."""
MOST_STEPS = 16
"""An attempt is killed after so many at the latest; a stack takes five."""


class Slow(StudyObserver):
    """Leaves time to be killed between any two steps of a study."""

    def stage(self, name):
        time.sleep(PAUSE_S)

    def study_started(self, info):
        Path(STEPS).touch()

    def epoch_ended(self, record, points):
        self._step()

    def runs_finished(self, results):
        self._step()

    def _step(self):
        with Path(STEPS).open("a") as file:
            file.write("s")
        time.sleep(PAUSE_S)


def study(folder, out):
    """Runs the study and writes its table; in a process of its own."""
    os.chdir(folder)
    # Small stacks of a known size: an attempt that is killed has finished some of them.
    running.candidate_sizes = lambda most: [min(STACK, most)]
    running.GroupRunner._measure = lambda self, sizes: {size: 1.0 / size for size in sizes}
    result = regplug.sweep(
        name="killed",
        dataset=toy(),
        model="mlp:hidden=[16]",
        grid=["reg.dropout.drop_probability=0,0.2,0.4", "lr=0.05,0.2"],
        seeds=4,
        epochs=3,
        export=False,
        observers=[Slow()],
    )
    Path(out).write_text(json.dumps(result.document()["summary"]))


def points(folder):
    """Returns each child in the store, by run id the point that it is."""
    with contextlib.closing(sqlite3.connect(folder / "mlruns" / "mlflow.db")) as database:
        return dict(database.execute("SELECT run_uuid, value FROM tags WHERE key = ?", [POINT_TAG]).fetchall())


def start(folder):
    """Begins the study in a process of its own, and waits until it trains."""
    (folder / STEPS).unlink(missing_ok=True)
    process = multiprocessing.get_context("fork").Process(target=study, args=(str(folder), "out.json"))
    process.start()
    while process.is_alive() and not (folder / STEPS).exists():
        time.sleep(0.01)
    return process


def wait_for_steps(folder, steps, process):
    """Waits until an attempt has made so many steps, or has ended."""
    while process.is_alive() and (folder / STEPS).stat().st_size < steps:
        time.sleep(0.01)


def finished(folder):
    """Runs the study to its end; returns its table."""
    process = start(folder)
    process.join()
    assert process.exitcode == 0
    return json.loads((folder / "out.json").read_text())


def main(place, kills, seed):
    alone, often = place / "alone", place / "often"
    alone.mkdir()
    often.mkdir()
    draw = random.Random(seed)
    left_alone = finished(alone)
    killed, known, is_kept = 0, {}, True
    for _ in range(kills):
        attempt = start(often)
        wait_for_steps(often, draw.randint(0, MOST_STEPS), attempt)
        attempt.join(draw.uniform(0, 2 * PAUSE_S))
        if not attempt.is_alive():
            break  # to begin once more would begin a new study
        os.kill(attempt.pid, signal.SIGKILL)
        attempt.join()
        killed += 1
        found = points(often)
        is_kept = is_kept and known.items() <= found.items()
        known = found
    table = finished(often) if not (often / "out.json").exists() else json.loads((often / "out.json").read_text())
    final = points(often)
    document = {
        "alone": left_alone,
        "killed": table,
        "kills": killed,
        "points": final,
        "before_the_last": len(known),
        "is_kept": is_kept and known.items() <= final.items(),
    }
    sys.stdout.write(json.dumps(document) + "\n")


if __name__ == "__main__":
    for name in USED:
        importlib.import_module(name)
    with not_drawing():
        main(Path(sys.argv[1]), int(sys.argv[2]), int(sys.argv[3]))
