"""Writes the file of each requested format and checks it; the steps that every kind of bundle shares."""

from __future__ import annotations

import contextlib
import time
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np
import torch
from torch import nn

from regplug.api import Task
from regplug.bundles.calibration.applying import measure
from regplug.bundles.cases import Reference
from regplug.bundles.causes import cause
from regplug.bundles.clean_process import CleanProcess
from regplug.bundles.formats import Array, Captured, Format
from regplug.bundles.layout import SAMPLE_INPUT
from regplug.bundles.measured import measured_metrics
from regplug.bundles.report import Check, prefixed
from regplug.bundles.test_set import FURTHER_ROWS, TestData, in_batches
from regplug.bundles.untrained import UntrainedGraph
from regplug.errors import ExportError, RegplugError
from regplug.registry.uncollected import uncollected

NamedFormats = Sequence[tuple[str, str, Format]]
"""Name, file name and object of each format."""


@dataclass
class Work:
    """The checks made and the time spent so far, and the graph of the untrained network, if it is known."""

    untrained: UntrainedGraph | None = None
    checks: list[Check] = field(default_factory=list)
    seconds: dict[str, float] = field(default_factory=dict)

    @contextlib.contextmanager
    def stage(self, name: str) -> Iterator[None]:
        """Measures the time of a stage."""
        start = time.perf_counter()
        try:
            yield
        finally:
            self.seconds[name] = self.seconds.get(name, 0.0) + time.perf_counter() - start


@dataclass(frozen=True, kw_only=True)
class Proof:
    """How the files of a bundle are written and checked.

    Args:
        input_name: For `CleanProcess`; empty for a bundle with several inputs or outputs.
        writing: Returns a context for writing the file of a format, by its name.
        check: Returns the checks of a file.
        clean: Returns the check of a process that runs a file without torch.
    """

    input_name: str
    writing: Callable[[str], contextlib.AbstractContextManager[None]]
    check: Callable[[Format, Path], list[Check]]
    clean: Callable[[CleanProcess, Format, Path], Check]


def prove_files(
    formats: NamedFormats, folder: Path, captured: Captured, manifest: dict[str, Any], proof: Proof, work: Work
) -> None:
    """Writes all files and checks them.

    Args:
        formats: The formats.
        folder: The bundle's folder, which has the sample files.
        captured: The captured model.
        manifest: The manifest.
        proof: How it is done.
        work: Receives the checks.

    Raises:
        ExportError: A format cannot hold the model.
    """
    with contextlib.ExitStack() as running:
        clean: list[tuple[str, Format, Path, CleanProcess]] = []
        for name, filename, form in formats:
            path = folder / filename
            with work.stage(f"{name}.write"), proof.writing(name):
                _write_file(name, form, captured, path, manifest)
            program = form.standalone()
            if program is not None:
                # It starts now and is checked last, so that it starts up while the other checks run.
                process = CleanProcess(program, path, folder / SAMPLE_INPUT, proof.input_name)
                clean.append((name, form, path, running.enter_context(process)))
        for name, filename, form in formats:
            with work.stage(f"{name}.check"):
                work.checks += prefixed(name, proof.check(form, folder / filename))
        with work.stage("clean_process"):
            for name, form, path, process in clean:
                work.checks += prefixed(name, [proof.clean(process, form, path)])


def _write_file(name: str, form: Format, captured: Captured, path: Path, manifest: dict[str, Any]) -> None:
    try:
        with torch.no_grad(), uncollected():
            form.write(captured, path, manifest)
    except (RegplugError, OSError):
        raise
    except Exception as error:
        raise ExportError(
            f"Format {name} ({type(form).__module__}) cannot write this model: {cause(error)}",
            hint="Leave this format out (--format), or write the operation in simpler ones.",
        ) from error


def test_rows_for(form: Format, formats: NamedFormats, test: TestData | None) -> TestData | None:
    """Returns the test rows on which a file is evaluated.

    The first float32 file and those with fewer bits get all of them. Further float32 files, which contain the same
    captured model, get 256.

    Args:
        form: The file's format.
        formats: All formats.
        test: The test rows; `None` if there are none.
    """
    first = next((each for _, _, each in formats if each.loss is None), form)
    return test if test is None or form is first or form.loss is not None else test.spread(FURTHER_ROWS)


def size_check(form: Format, path: Path, module: nn.Module) -> list[Check]:
    """Reports the size of a format with fewer bits; always passes, because in a tiny model the graph is larger."""
    if form.loss is None:
        return []
    size = path.stat().st_size
    whole = sum(value.numel() * 4 for value in module.state_dict().values() if value.is_floating_point())
    detail = f"{size / 2**10:,.1f} KiB, as a share of the weights in float32 ({whole / 2**10:,.1f} KiB)"
    return [Check(name="size", passed=True, figure=size / max(1, whole), detail=detail)]


def test_data(rows: tuple[Array, Array] | None, module: nn.Module, real: Reference, work: Work) -> TestData | None:
    """Returns the test rows with the model's own outputs.

    Args:
        rows: Raw test inputs and targets; `None` if there are none.
        module: The isolated model.
        real: Its outputs for the real rows.
        work: Measures the time.
    """
    if rows is None:
        return None
    inputs = np.require(rows[0], requirements=["C", "W"])
    with work.stage("test"), torch.no_grad():
        outputs = in_batches(lambda few: module(torch.from_numpy(few)).numpy(), inputs)
    # Rounding grows with the size of the values, and the test set may contain larger ones than the samples.
    growth = max(1.0, float(np.abs(outputs).max()) / (float(np.abs(real.outputs).max()) or 1.0))
    return TestData(inputs=inputs, targets=np.asarray(rows[1]), outputs=outputs, tolerance=real.tolerance * growth)


def tell_test(manifest: dict[str, Any], task: Task, test: TestData | None, *, is_ended: bool) -> list[Check]:
    """Writes what the test rows show into the manifest, before the files that contain it are written.

    Args:
        manifest: The manifest; its `calibration` receives `test`, and it gets `metrics`.
        task: The task.
        test: The test rows; `None` if there are none.
        is_ended: Whether the graph ends in a softmax or a sigmoid.

    Returns:
        The checks of a calibration on the test rows.
    """
    if test is None:
        return []
    part = manifest["calibration"]
    checks = [] if part is None else measure(part, task, test, is_shares=is_ended)
    manifest["metrics"] = measured_metrics(test.outputs, test.targets, task.kind, 0.5 if is_ended else 0.0)
    return checks
