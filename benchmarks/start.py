"""Times whole processes against the imports that they need, to measure what regplug adds to their start.

A command is timed from start to end. `run --epochs 0` is compared with each of its imports in a separate process; the
shares overlap where libraries import each other.
"""

from __future__ import annotations

import os
import subprocess
import sys
import tempfile
from collections.abc import Callable
from pathlib import Path

import numpy as np

from benchmarks.measure import Case, Claim, take_turns
from benchmarks.report import Report

OPEN_SESSION = "import numpy, onnxruntime; onnxruntime.InferenceSession({path!r}, providers=['CPUExecutionProvider'])"
LIBRARIES = ("torch", "mlflow", "sklearn.metrics", "matplotlib.figure", "pydantic")
NEEDED = (*LIBRARIES, "mlflow.store.tracking.sqlalchemy_store", "typer")
"""The libraries that `run --no-export` imports; `import mlflow` alone leaves out its store, and SQLAlchemy with it."""

FIRST_COMMAND = ("run", "--reg", "dropout", "--model", "mlp")
IMPORTS = ("torch", "mlflow", "sklearn.metrics", "onnx", "onnxscript", "onnxruntime", "matplotlib.figure", "pydantic")


def process(*command: str, folder: Path) -> Callable[[], Callable[[], object]]:
    """Prepares a process that must succeed; its output is not shown unless it fails."""
    # As installed: pip compiles a package, and a process that may not keep compiled code compiles it at each start.
    left_out = ("REGPLUG_", "MLFLOW_", "PYTHONDONTWRITEBYTECODE")
    kept = {key: value for key, value in os.environ.items() if not key.startswith(left_out)}

    def go() -> object:
        done = subprocess.run(command, cwd=folder, env=kept, capture_output=True, text=True)
        if done.returncode:
            raise RuntimeError(f"{' '.join(command)}\n{done.stdout}{done.stderr}")
        return done

    return lambda: go


def bench(repeats: int) -> Report:
    """Times five commands, their necessary imports, and the first command of the README by hand."""
    with tempfile.TemporaryDirectory() as place:
        folder = Path(place)
        regplug = [sys.executable, "-m", "regplug"]
        process(*regplug, "run", "--model", "linear", "--epochs", "1", "--out", "bundle", folder=folder)()()
        np.save(folder / "row.npy", np.load(folder / "bundle" / "sample_input.npz")["input"][:1])
        python = (sys.executable, "-c")
        run_nothing = ("run", "--epochs", "0", "--model", "linear")
        session = OPEN_SESSION.format(path="bundle/model.onnx")
        commands = {
            "--help": (*regplug, "--help"),
            "import typer": (*python, "import typer"),
            "plugins list": (*regplug, "plugins", "list"),
            "predict": (*regplug, "predict", "bundle", "row.npy"),
            "onnxruntime session": (*python, session),
            "run --epochs 0": (*regplug, *run_nothing),
            "without export": (*regplug, *run_nothing, "--no-export"),
            "imports without export": (*python, f"import {', '.join(NEEDED)}"),
            "imports without the store": (*python, f"import {', '.join(LIBRARIES)}"),
            "first command": (*regplug, *FIRST_COMMAND),
            "first command by hand": (sys.executable, str(Path(__file__).with_name("script_first.py"))),
            "python": (*python, "pass"),
            **{f"import {name}": (*python, f"import {name}") for name in IMPORTS},
        }
        cases = [
            Case(name=name, prepare=process(*command, folder=folder), is_here=False)
            for name, command in commands.items()
        ]
        timings = take_turns(cases, repeats)
    claims = [
        Claim(case="--help", over="import typer", limit=3.0),
        Claim(case="plugins list", over="import typer", limit=3.0),
        Claim(case="predict", over="onnxruntime session", limit=1.5),
        Claim(case="without export", over="imports without export", limit=1.15),
        Claim(case="without export", over="imports without the store"),
        Claim(case="first command", over="first command by hand", limit=0.9),
        *(Claim(case=f"import {name}", over="run --epochs 0") for name in IMPORTS),
    ]
    return Report(name="start", timings=timings, claims=claims)
