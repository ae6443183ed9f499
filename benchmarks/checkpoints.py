"""The time that checkpoints take: a run and a study with as many checkpoints as they allow, against none."""

from __future__ import annotations

import tempfile
from collections.abc import Callable
from pathlib import Path
from typing import Any

from benchmarks.measure import Case, Claim, take_turns
from benchmarks.report import Report

MOST = 1.02
FIELDS: dict[str, Any] = {
    "dataset": "digits",
    "model": "mlp:hidden=[256,256]",
    "optimizer": "adam",
    "lr": 0.001,
    "epochs": 60,
    "evaluate_every": 60,
    "probe": (),
    "export": False,
}
STUDY = {**FIELDS, "epochs": 20, "seeds": 8, "grid": ["reg.l2.strength=0,0.001"], "reg": ["l2"]}


def bench(repeats: int) -> Report:
    """Times a run and a study, each with checkpoints and without, in turns."""
    import regplug

    with tempfile.TemporaryDirectory() as place:
        uri = f"sqlite:///{Path(place) / 'mlflow.db'}"

        def work(function: Callable[..., object], fields: dict[str, Any], every_s: float) -> Callable[[], Any]:
            return lambda: lambda: function(**fields, checkpoint_every=every_s, tracking_uri=uri)

        cases = [
            Case(name="run", prepare=work(regplug.run, FIELDS, 0)),
            Case(name="run, checkpoints", prepare=work(regplug.run, FIELDS, 1e-9)),
            Case(name="study", prepare=work(regplug.sweep, STUDY, 0)),
            Case(name="study, checkpoints", prepare=work(regplug.sweep, STUDY, 1e-9)),
        ]
        timings = take_turns(cases, repeats)
    claims = [Claim(case=f"{name}, checkpoints", over=name, limit=MOST) for name in ("run", "study")]
    return Report(name="checkpoints", timings=timings, claims=claims)
