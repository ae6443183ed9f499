"""The whole command of sweep-small with tracking, against hand-written loops, tracked or started run by run."""

from __future__ import annotations

import json
import os
import statistics
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field
from itertools import count
from pathlib import Path
from typing import Any

import mlflow

from benchmarks.measure import Case, Claim, Timing, take_turns
from benchmarks.run_small import BATCH_SIZE, EPOCHS, LR, STRENGTH
from benchmarks.tracked_by_hand import train_tracked
from regplug.data import Prepared
from regplug.tracking import ChildRun, open_store

RUNS, TRACKED = 128, 4
COMMAND, BY_HAND, SCRIPT = "whole command, 128 runs", f"{TRACKED} runs by hand, tracked", "1 run by hand, process"
MOST_TURNS = 3
CHILD_POINTS, MOST_TRACKING_S = 200, 8.0
FACTS = {"l2.strength=0": ("A1", 11.63, 15.62), f"l2.strength={STRENGTH:g}": ("A2", 0.315, 0.421)}
"""Setting -> row of the reference, and the range of its weight norms over many seeds."""


@dataclass(frozen=True, kw_only=True)
class Whole:
    """The results of the whole command.

    Args:
        timings: The timing of each case.
        facts: Further lines.
        checks: Description of a limit -> whether it holds.
    """

    timings: dict[str, Timing]
    facts: list[str]
    checks: dict[str, bool]


CLAIMS = (
    Claim(case=BY_HAND, over=COMMAND, limit=8, side="at least", times=RUNS / TRACKED),
    Claim(case=SCRIPT, over=COMMAND, times=RUNS),
)


def measure(data: Prepared, repeats: int) -> Whole:
    """Times the command in a new folder each time, and the hand-written loop; checks norms and the time of tracking."""
    with tempfile.TemporaryDirectory() as place:
        command = _Command(folder=Path(place))
        command.run()  # its child runs determine what the hand-written loop logs
        params, tags = command.child()
        with _mlflow_in(Path(place) / "hand"):
            cases = [
                Case(name=COMMAND, prepare=lambda: command.run, is_here=False, note="fresh folder, with tracking"),
                Case(
                    name=BY_HAND,
                    prepare=lambda: lambda: train_tracked(data, [STRENGTH] * TRACKED, params, tags),
                    note="MLflow's fluent API, store and imports ready",
                ),
                Case(
                    name=SCRIPT, prepare=lambda: _script, is_here=False, note="python, torch, 100 epochs; no tracking"
                ),
            ]
            timings = take_turns(cases, min(repeats, MOST_TURNS))
        checks = _norms(command.said()) | _tracking(Path(place) / "children")
    peak = f"{COMMAND}: peak {statistics.median(command.peaks_mb):.0f} MB"
    return Whole(timings=timings, facts=[peak], checks=checks)


@dataclass(kw_only=True)
class _Command:
    """Runs `regplug sweep`, each time in a new folder.

    Args:
        folder: Parent of these folders.
        peaks_mb: Peak resident memory of each run.
    """

    folder: Path
    peaks_mb: list[float] = field(default_factory=list)
    _numbers: Iterator[int] = field(default_factory=count)
    _last: Path = Path()

    def run(self) -> None:
        self._last = self.folder / f"sweep{next(self._numbers)}"
        self._last.mkdir()
        with (self._last / "said.json").open("w") as out, (self._last / "errors.txt").open("w") as errors:
            process = subprocess.Popen(_words(), cwd=self._last, env=_environment(), stdout=out, stderr=errors)
            _, status, usage = os.wait4(process.pid, 0)
            process.returncode = os.waitstatus_to_exitcode(status)
        if process.returncode:
            raise RuntimeError(f"regplug sweep failed:\n{(self._last / 'errors.txt').read_text()}")
        self.peaks_mb.append(usage.ru_maxrss / 1024)

    def said(self) -> dict[str, Any]:
        return json.loads((self._last / "said.json").read_text())  # type: ignore[no-any-return]

    def child(self) -> tuple[dict[str, str], dict[str, str]]:
        """Returns parameters and tags of one of the runs, without those that MLflow writes itself."""
        said = self.said()
        found = mlflow.MlflowClient(said["tracking_uri"]).get_run(said["runs"][-1]["run_id"]).data
        return found.params, {key: value for key, value in found.tags.items() if not key.startswith("mlflow.")}


def _words() -> Sequence[str]:
    return (
        *(sys.executable, "-m", "regplug", "sweep", "--json", "--no-export"),
        *("--model", "linear", "--dataset", "linear_regression"),
        *("--init", "normal:std=1", "--loss", "half_squared_error", "--lr", str(LR), "--epochs", str(EPOCHS)),
        *("--batch-size", str(BATCH_SIZE), "--reg", "l2", "--grid", f"reg.l2.strength=linear(0,{STRENGTH:g},16)"),
        *("--seeds", "8", "--pair-seeds", "--probe", "weight_norm"),
    )


def _environment() -> dict[str, str]:
    return {key: value for key, value in os.environ.items() if not key.startswith(("REGPLUG_", "MLFLOW_"))}


def _script() -> None:
    subprocess.run([sys.executable, "-m", "benchmarks.script_small"], env=_environment(), check=True)


@contextmanager
def _mlflow_in(folder: Path) -> Iterator[None]:
    folder.mkdir()
    before = mlflow.get_tracking_uri()
    mlflow.set_tracking_uri(f"sqlite:///{folder / 'mlflow.db'}")
    try:
        mlflow.set_experiment("by hand")
        yield
    finally:
        mlflow.set_tracking_uri(before)


def _norms(said: dict[str, Any]) -> dict[str, bool]:
    """Returns whether the weights' norms are in the reference's range; one seed may be an outlier, as in the tests."""
    checks = {}
    for setting, (row, low, high) in FACTS.items():
        norms = [run["metrics"]["norm/weight"] for run in said["runs"] if run["setting"] == setting]
        inside = sum(low <= norm <= high for norm in norms)
        told = f"{row} {setting}: mean norm {statistics.mean(norms):.4g}, {inside} of {len(norms)} in [{low}, {high}]"
        checks[told] = len(norms) - inside <= 1
    return checks


def _tracking(folder: Path) -> dict[str, bool]:
    folder.mkdir()
    store = open_store(f"sqlite:///{folder / 'mlflow.db'}")
    points = [(f"train/m{index % 4}", index / 7, index // 4, 1_000 + index) for index in range(CHILD_POINTS)]
    children = [ChildRun(name=f"run {n}", params={"strength": n}, metrics=points) for n in range(RUNS)]
    with store.start_run(experiment="children", name="study", params={}, tags={}) as parent:
        seconds = _seconds(lambda: store.log_children(parent.run_id, "children", children))
    told = f"tracking of {RUNS} runs with {CHILD_POINTS} points each: {seconds:.2f} s, at most {MOST_TRACKING_S:g}"
    return {told: seconds <= MOST_TRACKING_S}


def _seconds(function: Callable[[], object]) -> float:
    began = time.perf_counter()
    function()
    return time.perf_counter() - began
