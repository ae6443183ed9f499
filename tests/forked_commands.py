"""Calls commands as the console script does, a fork for each: most spend more time on imports than on all else.

Reads a line of JSON for each call, [folder, [argument, ...], file for what it says], and answers with its exit code.
The process itself looks for no plugin, so that each fork finds what was installed meanwhile.
"""

from __future__ import annotations

import gc
import importlib
import json
import os
import site
import sys
import sysconfig

HEAVY = (
    "mlflow.store.tracking.sqlalchemy_store", "mlflow.tracking", "regplug.cli.app", "regplug.runs.runner",
    "regplug.studies.engine", "regplug.testing", "scipy.stats", "sklearn.metrics", "sklearn.model_selection",
    "torchvision",
)  # fmt: skip
"""Not onnxruntime, which starts threads that a fork lacks."""


def call(folder: str, args: list[str], said: str) -> int:
    """Calls one command in a fork; returns its exit code."""
    child = os.fork()
    if child:
        return os.waitstatus_to_exitcode(os.waitpid(child, 0)[1])
    try:
        os.chdir(folder)
        for number, flags in ((0, os.O_RDONLY), (1, os.O_WRONLY), (2, os.O_WRONLY)):
            os.dup2(os.open(said if number else os.devnull, flags | os.O_APPEND), number)
        site.addsitedir(sysconfig.get_path("purelib"))
        sys.argv = ["regplug", *args]
        from regplug.cli import main

        main()
    finally:
        sys.stderr.flush()
        os._exit(99)


if __name__ == "__main__":
    for name in HEAVY:
        importlib.import_module(name)
    # What has one processor starts no second process, which would import much of this again.
    if hasattr(os, "sched_setaffinity"):
        os.sched_setaffinity(0, [min(os.sched_getaffinity(0))])
    gc.freeze()
    for line in sys.stdin:
        sys.stdout.write(f"{call(*json.loads(line))}\n")
        sys.stdout.flush()
