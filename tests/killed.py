"""Runs, sweeps and cross-validations that are killed with signal 9 and resumed, in forked processes.

Called as `killed.py FOLDER WHAT KILLS SEED [REGULARIZER...]`, or with names of `MOMENTS`, joined by commas, in place
of the number of kills; prints a JSON document: what differed from the one that was left alone.
"""

from __future__ import annotations

import contextlib
import importlib
import json
import multiprocessing
import os
import random
import signal
import sys
import time
from pathlib import Path

from shortcuts import not_drawing

import regplug
from regplug import exporting
from regplug.errors import RequestError
from regplug.runs import checkpoints, runner
from regplug.studies.delivery import delivering
from regplug.studies.keeping import Keeper
from regplug.studies.stacks import running
from regplug.tracking import Store, TrackedRun, open_store
from regplug.tracking import run as tracked_run

USED = (
    "mlflow.store.tracking.sqlalchemy_store", "sklearn.metrics", "scipy.stats", "matplotlib.backends.backend_agg",
    "matplotlib.backends.backend_svg", "regplug.studies.resuming", "regplug.reports.judging", "onnx", "onnxruntime",
    "torch.onnx", "regplug.bundles.writing",
)  # fmt: skip
"""Imported before the attempts are forked: for each of them, the imports would take longer than the study."""

RUN = {
    "dataset": "moons", "model": "mlp:hidden=[6]", "reg": ["dropout", "batchnorm", "ema", "l2:strength=0..0.01"],
    "epochs": 8, "momentum": 0.9, "schedule": "cosine", "checkpoint_every": 1e-9, "format": ["torchscript"],
}  # fmt: skip
GRID = {**RUN, "grid": ["reg.dropout.drop_probability=0,0.3"], "epochs": 4}
WORK = {
    "run": (regplug.run, RUN),
    "sweep": (regplug.sweep, {**GRID, "seeds": 3, "export": False}),
    "cv": (regplug.cross_validate, {**GRID, "folds": 2, "final_seeds": 2}),
}
TWICE = 3
"""Of so many kills, one is followed by the kill of the process that resumes."""

LONGEST_S = 600


def prepare():
    """Small stacks of a known size, and a checkpoint after each epoch."""
    checkpoints._SHARE = 1e9
    running.candidate_sizes = lambda most: [min(2, most)]
    running.GroupRunner._measure = lambda self, sizes: {size: 1.0 / size for size in sizes}


def die(*_, **__):
    os.kill(os.getpid(), signal.SIGKILL)


def half_written(saved, file, **_):
    """A checkpoint of which a part is on disk."""
    if saved.get("training", {}).get("state", {}).get("epoch", 0) >= 2:
        file.write(b"half of a checkpoint")
        file.flush()
        die()
    return _save(saved, file)


_save = checkpoints.torch.save


def after(function, calls=1):
    """The function, after whose last of so many calls the process is killed."""
    made = iter(range(1, calls))

    def and_die(*args, **kwargs):
        result = function(*args, **kwargs)
        if next(made, None) is None:
            die()
        return result

    return and_die


def exports(replace):
    """Replaces what exports a run at its end, and what exports the best setting of a cross-validation."""
    for module, name in ((exporting, "export_run"), (delivering, "export_tracked")):
        setattr(module, name, replace(getattr(module, name)))


MOMENTS = {
    "right after the start": lambda: setattr(Store, "start_run", after(Store.start_run)),
    "right after the training began": lambda: setattr(checkpoints.Checkpoints, "offer", die),
    "before a checkpoint is renamed": lambda: setattr(checkpoints.os, "fsync", after(os.fsync, 3)),
    "after a checkpoint is renamed": lambda: setattr(Path, "replace", after(Path.replace, 3)),
    "after the weights are stored": lambda: setattr(runner, "log_state", after(runner.log_state)),
    "during the logging of the figures": lambda: setattr(
        TrackedRun, "log_figure_png", after(TrackedRun.log_figure_png)
    ),
    "after the export": lambda: exports(after),
    "after the checkpoint is removed": lambda: setattr(
        checkpoints.Checkpoints, "remove", after(checkpoints.Checkpoints.remove)
    ),
    "before its end is written": lambda: setattr(tracked_run, "write_end", die),
    "between two stacks": lambda: setattr(Keeper, "keep", after(Keeper.keep)),
    "during the write of a checkpoint": lambda: setattr(checkpoints.torch, "save", half_written),
    "during the export": lambda: exports(lambda _: die),
    "after the children are written": lambda: setattr(Store, "log_children", _one_then_die(Store.log_children)),
}


def _one_then_die(log_children):
    """Writes the first child of a stack, and no other."""

    def write(self, parent, experiment, children):
        list(log_children(self, parent, experiment, children[:1]))
        die()

    return write


def chosen(regularizers):
    """Replaces the regularizers of all works."""
    for _, fields in WORK.values():
        fields["reg"] = regularizers
        if "grid" in fields:
            fields["grid"] = ["lr=0.05,0.2"]


def attempt(what, folder, name, resumes, out, moment):
    """Starts or resumes the work, in a process of its own."""
    os.chdir(folder)
    prepare()
    if moment is not None:
        MOMENTS[moment]()
    function, fields = WORK[what]
    if resumes:
        try:
            result = regplug.resume(name)
        except RequestError as error:  # killed before anything was stored that could be resumed, or after the end
            if "is finished" in str(error):
                Path(out).write_text("null")
                return
            if not any(text in str(error) for text in ("There is no run", "before its training began")):
                raise
            result = function(name=f"{name} again", **fields)
    else:
        result = function(name=name, **fields)
    assert result.status == "FINISHED"
    assert not list(Path("mlruns/checkpoints").glob("*"))
    Path(out).write_text(json.dumps(facts(result)))


def facts(result):
    """What must be as if nobody had been killed: weights, metrics, and every point in the store."""
    store = open_store()
    finals = getattr(result, "finals", (result,))
    each = [result.run_id] if not hasattr(result, "results") else [one.run_id for one in result.results]
    study = getattr(result, "study_id", None) or None
    rows = [] if study is None else result.document()["summary"]
    assert study is None or len(store.runs(limit=None, parent=study)) == len(each), "a run is there twice"
    return {
        "weights": [final.state_sha256 for final in finals],
        "verified": [final.verification is None or final.verification.passed for final in finals],
        "points": [points(store, run_id) for run_id in (*each, *(final.run_id for final in finals))],
        "study": {} if study is None else points(store, study),
        "table": [{name: value for name, value in row.items() if name != "seconds"} for row in rows],
    }


def points(store, run_id):
    return {
        name: [(point.step, point.value) for point in store.metric_history(run_id, name)]
        for name in sorted(store.find_run(run_id).metrics)
        if not name.startswith(("time/", "best/time/"))
    }


def start(*args):
    process = multiprocessing.get_context("fork").Process(target=attempt, args=args)
    process.start()
    return process


def kill(process, after_s):
    """Kills a process after so many seconds; returns whether it was still alive."""
    process.join(after_s)
    is_alive = process.is_alive()
    if is_alive:
        os.kill(process.pid, signal.SIGKILL)
    process.join()
    return is_alive


def finish(what, folder, name, resumes):
    """Begins or resumes the work to its end; returns its facts."""
    out = folder / f"{name}.json"
    process = start(what, str(folder), name, resumes, str(out), None)
    process.join(LONGEST_S)
    assert process.exitcode == 0, f"{name} ended with {process.exitcode}"
    return json.loads(out.read_text())


def main(folder, what, kills, seed):
    draw = random.Random(seed)
    began = time.monotonic()
    alone = finish(what, folder, "alone", False)
    duration = time.monotonic() - began
    differ, killed = [], 0
    moments = [None] * int(kills) if kills.isdecimal() else kills.split(",")
    for number, moment in enumerate(moments):
        name, out = f"killed {number}", folder / f"killed {number}.json"
        victim = start(what, str(folder), name, False, str(out), moment)
        after_s = LONGEST_S if moment else draw.uniform(0, duration)
        was_alive = kill(victim, after_s)
        if moment:
            assert victim.exitcode == -signal.SIGKILL, f"it was not killed {moment}"
        elif not was_alive:
            continue
        killed += 1
        if number % TWICE == TWICE - 1 and kill(start(what, str(folder), name, True, str(out), None), after_s / 2):
            killed += 1
        found = json.loads(out.read_text()) if out.exists() else finish(what, folder, name, True)
        wrong = [key for key in alone if found is not None and found[key] != alone[key]]
        if wrong:
            differ.append(f"{name}, killed after {after_s:.2f} s of {duration:.2f} s: {wrong}")
    sys.stdout.write(json.dumps({"killed": killed, "differ": differ, "seconds": duration}) + "\n")


if __name__ == "__main__":
    for module in USED:
        with contextlib.suppress(ImportError):
            importlib.import_module(module)
    if sys.argv[5:]:
        chosen(sys.argv[5:])
    with not_drawing():
        main(Path(sys.argv[1]), sys.argv[2], sys.argv[3], int(sys.argv[4]))
