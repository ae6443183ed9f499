"""Times an export to a verified bundle with ONNX and TorchScript against torch.onnx.export alone.

The check before training, whether the untrained network can be exported, counts as part of the export. Both sides get
the same module: raw bytes in, logits out. Also shows where the time goes, and the inference time of a file against the
module's.
"""

from __future__ import annotations

import statistics
import tempfile
import time
import warnings
from collections import defaultdict
from collections.abc import Callable
from pathlib import Path
from typing import Any

import onnxruntime
import torch
from torch.export import Dim

from benchmarks.exported import Subject, eager, subject
from benchmarks.measure import Case, Claim, take_turns
from benchmarks.report import Report
from regplug.bundles.structure import check_untrained
from regplug.bundles.writing import write_bundle

JUDGED = ("mlp", "cnn", "resnet18")
FIRST_PARTY = ("linear", "mlp", "cnn")
LIMIT = 3.0
CALLS = {1: 300, 256: 5}
"""Batch size -> number of inferences that are timed together."""


def bench(repeats: int) -> Report:
    """Times exports and inference in turns."""
    subjects = {name: subject(name) for name in dict.fromkeys((*FIRST_PARTY, *JUDGED))}
    stages: dict[str, dict[str, list[float]]] = defaultdict(lambda: defaultdict(list))
    with tempfile.TemporaryDirectory() as place:
        folder = Path(place)
        cases = [case for name in JUDGED for case in _exports(subjects[name], folder, stages[name])]
        for name, chosen in subjects.items():
            path = folder / f"{name}.onnx"
            _torch_alone(chosen, path)
            cases += [case for batch in CALLS for case in _answers(chosen, path, batch)]
        timings = take_turns(cases, repeats)
    claims = [Claim(case=f"{name}: bundle", over=f"{name}: torch.onnx.export", limit=LIMIT) for name in JUDGED]
    for name in subjects:
        for batch in CALLS:
            limit = 1.0 if batch == 1 and name in FIRST_PARTY else None
            claims.append(Claim(case=f"{name}: file, batch {batch}", over=f"{name}: eager, batch {batch}", limit=limit))
    facts = ["", "where a bundle's time goes (medians, seconds):", *(_shares(name, stages[name]) for name in JUDGED)]
    return Report(name="export", timings=timings, claims=claims, facts=facts)


def _exports(chosen: Subject, folder: Path, stages: dict[str, list[float]]) -> list[Case]:
    alone = folder / "alone.onnx"

    def ours() -> object:
        began = time.perf_counter()
        untrained = check_untrained(chosen.request("onnx", "torchscript"))
        stages["before training"].append(time.perf_counter() - began)
        bundle = write_bundle(chosen.request("onnx", "torchscript"), folder / "bundle", untrained=untrained)
        for stage, seconds in bundle.seconds.items():
            stages[stage].append(seconds)
        return bundle

    return [
        Case(name=f"{chosen.name}: bundle", prepare=lambda: ours),
        Case(
            name=f"{chosen.name}: torch.onnx.export",
            prepare=lambda: lambda: _torch_alone(chosen, alone),
        ),
    ]


def _torch_alone(chosen: Subject, path: Path) -> None:
    raw = torch.from_numpy(chosen.images[:3])
    with warnings.catch_warnings(), torch.no_grad():
        warnings.simplefilter("ignore")
        torch.onnx.export(
            chosen.deployed(),
            (raw,),
            path,
            dynamo=True,
            dynamic_shapes=({0: Dim("batch")},),
            external_data=False,
            verbose=False,
        )


def _answers(chosen: Subject, path: Path, batch: int) -> list[Case]:
    options = onnxruntime.SessionOptions()
    options.intra_op_num_threads = torch.get_num_threads()
    session = onnxruntime.InferenceSession(str(path), options, providers=["CPUExecutionProvider"])
    name, rows = session.get_inputs()[0].name, chosen.images[:batch]

    def file() -> Any:
        return session.run(None, {name: rows})

    def times(run: Callable[[], Any]) -> Callable[[], Callable[[], object]]:
        return lambda: lambda: [run() for _ in range(CALLS[batch])]

    note = f"{CALLS[batch]} inferences"
    return [
        Case(
            name=f"{chosen.name}: file, batch {batch}",
            prepare=times(lambda: session.run(None, {name: rows})),
            note=note,
        ),
        Case(name=f"{chosen.name}: eager, batch {batch}", prepare=times(eager(chosen, batch)), note=note),
    ]


def _shares(name: str, stages: dict[str, list[float]]) -> str:
    return f"  {name}: " + ", ".join(f"{stage} {statistics.median(took):.2f}" for stage, took in stages.items())
