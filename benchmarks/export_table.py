"""`python -m benchmarks.export_table [docs/export.md]`: writes the table of architectures and formats into a document.

The export time includes everything for one format: isolation, pre-flight checks, capture, writing, checks and clean
process. The latency ratio is the file's time divided by the module's, both on one thread and timed in turns: below 1
the file is faster.
"""

from __future__ import annotations

import argparse
import platform
import tempfile
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import onnxruntime
import torch

from benchmarks.exported import MODELS, Subject, eager, latency_ratio, named, subject
from regplug.bundles.formats import Run
from regplug.bundles.report import Check
from regplug.bundles.request import Bundle
from regplug.bundles.writing import write_bundle
from regplug.errors import FailedError

FORMATS = ("onnx", "torchscript", "pt2", "onnx_fp16", "onnx_int8")
BATCHES = (1, 256)
BEGIN, END = "<!-- table: begin -->", "<!-- table: end -->"
COLUMNS = ("model", "format", "size", "export", "worst error / limit", "batch 1", "batch 256", "checks")


def main() -> None:
    """Prints the table, and writes it between the marks of a document if one is given."""
    parser = argparse.ArgumentParser(prog="python -m benchmarks.export_table", description=__doc__)
    parser.add_argument("document", nargs="?", type=Path)
    parser.add_argument("--model", action="append", choices=list(MODELS), help="repeats; all by default")
    asked = parser.parse_args()
    torch.set_num_threads(1)
    lines = []
    for line in table(asked.model or list(MODELS)):
        print(line, flush=True)
        lines.append(line)
    if asked.document is not None:
        text = asked.document.read_text(encoding="utf-8")
        before, _, rest = text.partition(BEGIN)
        _, _, after = rest.partition(END)
        asked.document.write_text(f"{before}{BEGIN}\n{chr(10).join(lines)}\n{END}{after}", encoding="utf-8")


def table(models: list[str]) -> Iterator[str]:
    """Yields the table's lines as Markdown."""
    yield f"| {' | '.join(COLUMNS)} |"
    yield f"| {' | '.join('---' for _ in COLUMNS)} |"
    for name in models:
        chosen = subject(name)
        for form in FORMATS:
            yield f"| {' | '.join(_row(chosen, form))} |"
    machine = f"{platform.machine()}, one thread, torch {torch.__version__}, onnxruntime {onnxruntime.__version__}"
    yield f"\nMeasured on {machine}."


def _row(chosen: Subject, form: str) -> list[str]:
    with tempfile.TemporaryDirectory() as place:
        try:
            bundle = write_bundle(chosen.request(form), Path(place) / "bundle")
        except FailedError as error:
            return [chosen.name, form, *["-"] * 5, f"refused: {error.message.splitlines()[0]}"]
        run, size = _opened(bundle, form)
        ratios = [_ratio(chosen, run, batch) for batch in BATCHES]
    checks, seconds = bundle.verification.checks, sum(bundle.seconds.values())
    passed = f"{sum(check.passed for check in checks)} of {len(checks)}"
    latency = [f"{ratio:.2f}" for ratio in ratios]
    return [chosen.name, form, _size(size), f"{seconds:.1f} s", _worst(bundle), *latency, passed]


def _ratio(chosen: Subject, run: Run, batch: int) -> float:
    rows = chosen.images[:batch]
    return latency_ratio(lambda: run(rows), eager(chosen, batch))


def _opened(bundle: Bundle, form: str) -> tuple[Run, int]:
    """Opens a file on one thread; returns it with its size in bytes."""
    _, filename, reader = named(form)
    path = bundle.path / filename
    if path.suffix != ".onnx":
        return reader.open(path, optimised=True), path.stat().st_size
    options = onnxruntime.SessionOptions()
    options.intra_op_num_threads = 1
    session = onnxruntime.InferenceSession(str(path), options, providers=["CPUExecutionProvider"])
    name = session.get_inputs()[0].name
    return lambda rows: session.run(None, {name: rows})[0], path.stat().st_size


def _worst(bundle: Bundle) -> str:
    """Returns the largest error relative to its limit."""
    measured: list[Check] = [c for c in bundle.verification.checks if ".numbers." in c.name and c.limit]
    worst: Any = max(measured, key=lambda check: check.figure / check.limit)  # type: ignore[operator] # neither is None
    return f"{worst.figure:.1e} / {worst.limit:.1e} = {worst.figure / worst.limit:.2f}"


def _size(count: int) -> str:
    return f"{count / 2**10:.0f} KiB" if count < 2**20 else f"{count / 2**20:.1f} MiB"


if __name__ == "__main__":
    main()
