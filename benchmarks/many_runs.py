"""`regplug runs list` in a store of 5,000 runs, beyond what it takes in a store of one."""

from __future__ import annotations

import statistics
import sys
import tempfile
from pathlib import Path

from benchmarks.measure import Case, take_turns
from benchmarks.report import Report
from benchmarks.start import process
from regplug.tracking import ChildRun, open_store
from regplug.tracking.kinds import STUDY_TAG

STUDIES, EACH, POINTS = 50, 99, 60
MOST_S = 2.0
LISTS = {
    "list": (),
    "list, sorted by a metric": ("--sort=-test/accuracy",),
    "list, sorted by a parameter": ("--sort", "lr"),
    "list, filtered": ("--model", "mlp", "--reg", "l2", "--status", "finished", "--since", "1d"),
    "list, interrupted": ("--status", "interrupted"),
}
ALONE = "list, a store of one run"


def fill(folder: Path, studies: int, each: int) -> int:
    """Writes studies with their runs into a new store; returns the number of runs."""
    store = open_store(folder=folder)
    for number in range(studies):
        tags = {STUDY_TAG: "sweep"}
        params = {"model": "mlp", "dataset": "digits"}
        run = store.start_run(experiment=f"question {number % 5}", name=f"study {number}", params=params, tags=tags)
        with run:
            list(store.log_children(run.run_id, run.experiment, [_child(number, at) for at in range(each)]))
    return studies * (each + 1)


def bench(repeats: int) -> Report:
    """Times the lists in turns."""
    with tempfile.TemporaryDirectory() as place:
        many, one = Path(place, "many"), Path(place, "one")
        runs = fill(many, STUDIES, EACH)
        fill(one, 1, 0)
        command = (sys.executable, "-m", "regplug", "runs", "list")
        cases = [
            Case(name=ALONE, prepare=process(*command, folder=one), is_here=False, note="the imports"),
            *(
                Case(name=name, prepare=process(*command, *options, folder=many), is_here=False)
                for name, options in LISTS.items()
            ),
        ]
        timings = take_turns(cases, repeats)
    beyond = {
        name: statistics.median(a - b for a, b in zip(timings[name].wall_s, timings[ALONE].wall_s, strict=True))
        for name in LISTS
    }
    told = {name: f"{name} of {runs:,} runs: {seconds:.2f} s beyond its imports" for name, seconds in beyond.items()}
    checks = {f"{text}, at most {MOST_S:g}": beyond[name] <= MOST_S for name, text in told.items()}
    return Report(name="many-runs", timings=timings, claims=[], checks=checks)


def _child(study: int, at: int) -> ChildRun:
    points = [(f"{split}/{name}", at / 7 + epoch, epoch, 1_000 + epoch) for split in ("train", "valid", "test")
              for name in ("loss", "accuracy") for epoch in range(POINTS // 6)]  # fmt: skip
    fields = {f"field_{number}": number for number in range(30)}
    params = {"model": "mlp", "dataset": "digits", "regularizers": "dropout+l2", "lr": at / 100, **fields}
    now = 1_000_000 * study
    return ChildRun(name=f"mlp + dropout(p={at}) seed {at}", params=params, metrics=points, start_ms=now, end_ms=now)
