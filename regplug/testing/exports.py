"""A network exported and proven as `regplug run` does it."""

from __future__ import annotations

import tempfile
from pathlib import Path
from typing import Any

import torch
from torch import Tensor, nn

from regplug.api import Format, Task
from regplug.bundles.capture import EXAMPLE_ROWS, capture
from regplug.bundles.formats import Format as FormatFunctions
from regplug.bundles.isolate import isolate
from regplug.bundles.request import BundleRequest
from regplug.bundles.writing import write_bundle
from regplug.errors import UnknownComponentError
from regplug.testing.checking import CouldNotRun, attempting
from regplug.testing.rig import Rig
from regplug.testing.subject import Subject, find_subject

_ROWS = 64


class AsGiven(nn.Module):
    """Raw input is what the network takes."""

    def forward(self, raw: Tensor) -> Tensor:
        """Returns the input."""
        return raw


def prove_export(subject: Subject, form: str, rig: Rig) -> None:
    """Exports a restructured network as a run does and proves the file.

    Args:
        subject: Knows the registry in which the format is.
        form: Name of the format; empty for the capture alone.
        rig: The network.

    Raises:
        CheckFailed: It cannot be exported, or the file is not the network.
        CouldNotRun: The format is not installed.
    """
    rig.model.train()
    rig.train_logits(rig.x())
    prove_model(subject, form, rig.settled(), rig.network.inputs(_ROWS, torch.float32), rig.task)


def prove_model(subject: Subject, form: str, model: nn.Module, x: Tensor, task: Task) -> None:
    """Exports a network and proves the file; see `prove_export`."""
    if not form:
        with attempting("torch.export with a symbolic batch"):
            deployed, _ = isolate(AsGiven(), model, "")
            capture(deployed, x[:EXAMPLE_ROWS])
        return
    try:
        found = find_subject("format", form, {}, subject.registry)
    except UnknownComponentError as error:
        raise CouldNotRun(f"the format {form} is not installed") from error
    functions: Any = found.build()
    prove_with(functions, found.descriptor(Format), model, x, task)


def prove_with(functions: FormatFunctions, descriptor: Format, model: nn.Module, x: Tensor, task: Task) -> None:
    """Exports a network with a format and proves the file; see `prove_export`."""
    request = BundleRequest(
        module=model,
        preprocess=AsGiven(),
        samples=x.numpy(),
        layout="row" if x.ndim == 2 else "image" if x.ndim == 4 else "array",
        task=task,
        formats=[(descriptor.name, descriptor.filename, functions)],
    )
    with tempfile.TemporaryDirectory() as folder, attempting(f"exporting as {descriptor.name}"):
        write_bundle(request, Path(folder) / "bundle")
