"""Calls commands with standard streams that are closed, full, or read by nobody; one process, a fork for each call.

Usage: python broken_streams.py FOLDER < calls.json > answers.json, where a call is [fault, [argument, ...]].
"""

from __future__ import annotations

import contextlib
import gc
import importlib
import io
import json
import os
import sys
from pathlib import Path

from shortcuts import not_drawing

HEAVY = (
    "jinja2", "matplotlib.backends.backend_agg", "mlflow.store.tracking.sqlalchemy_store", "mlflow.tracking",
    "regplug.cli.app", "regplug.runs.runner", "regplug.studies.comparison.comparing", "regplug.studies.engine",
    "scipy.stats", "sklearn.datasets", "sklearn.metrics", "sklearn.model_selection", "sympy",
)  # fmt: skip
FAULTS = ("stdout closed", "stderr closed", "both closed", "stdout full", "stderr full", "reader gone")


def break_streams(fault: str, out: Path, err: Path) -> None:
    """Leaves the process with one broken stream, and the other one writing to a file."""
    for number, file in ((1, out), (2, err)):
        os.dup2(os.open(file, os.O_WRONLY | os.O_CREAT, 0o600), number)
    which, _, how = fault.partition(" ")
    numbers = {"stdout": [1], "stderr": [2], "both": [1, 2], "reader": [1]}.get(which, [])
    for number in numbers:
        if how == "gone":
            reader, writer = os.pipe()
            os.close(reader)
            os.dup2(writer, number)
        elif how == "full":
            os.dup2(os.open("/dev/full", os.O_WRONLY), number)
        else:
            os.close(number)
    if how == "closed":
        # As Python itself has it when it starts so.
        sys.stdout = None if 1 in numbers else sys.stdout
        sys.stderr = None if 2 in numbers else sys.stderr


def call(fault: str, args: list[str], folder: Path) -> dict[str, object]:
    """Calls one command in a fork, as the console script does, and returns exit code, stdout and stderr."""
    out, err = folder / "out.txt", folder / "err.txt"
    for file in (out, err):
        file.unlink(missing_ok=True)
    child = os.fork()
    if child == 0:
        try:
            break_streams(fault, out, err)
            sys.argv = ["regplug", *args]
            from regplug.cli import main

            main()
        finally:
            os._exit(99)
    _, status = os.waitpid(child, 0)
    return {"code": os.waitstatus_to_exitcode(status), "out": out.read_text(), "err": err.read_text()}


def import_everything() -> None:
    """What each call would import anew, for seconds; a study's background process is left out.

    Not onnxruntime, which starts threads that a fork lacks.
    """
    for name in HEAVY:
        importlib.import_module(name)
    # What has one processor starts no second process.
    if hasattr(os, "sched_setaffinity"):
        os.sched_setaffinity(0, [min(os.sched_getaffinity(0))])
    # Finds and imports the components; a plan writes nothing.
    from regplug.cli.app import invoke

    with contextlib.redirect_stdout(io.StringIO()):
        invoke(["plan", "--model", "mlp", "--reg", "dropout", "--reg", "batchnorm", "--json"])
    gc.freeze()


if __name__ == "__main__":
    import_everything()
    place = Path(sys.argv[1])
    with not_drawing():
        answers = [call(fault, args, place) for fault, args in json.load(sys.stdin)]
    sys.stdout.write(json.dumps(answers))
