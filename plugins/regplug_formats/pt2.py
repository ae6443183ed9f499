"""torch.export's own file: the captured program as it is, the successor of TorchScript."""

from __future__ import annotations

import io
import json
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import torch

from regplug.api import NoParams
from regplug.bundles.capture import judge
from regplug.bundles.formats import Array, Captured, Format, NamedNoiseRuns, NamedRun, NoiseRuns, Run, RunAll
from regplug.bundles.layout import canonical_json
from regplug.bundles.report import Check
from regplug_formats.torch_named import named_run
from regplug_formats.torch_noise import draws_of, named_noise_runs, noise_runs
from regplug_formats.torch_operators import require_torchs_operators
from regplug_formats.torch_outputs import all_of, first_of
from regplug_formats.torch_rounding import perturbed_run

_MANIFEST = "regplug.manifest.json"


class Pt2(Format):
    """Writes, opens and walks through `model.pt2`."""

    holds_noise = True
    holds_added_outputs = True
    holds_names = True

    def __init__(self, params: NoParams) -> None:
        del params

    def write(self, captured: Captured, path: Path, manifest: Mapping[str, Any]) -> None:
        """Saves the captured program."""
        require_torchs_operators(captured.program, "pt2")
        content = io.BytesIO()  # torch ends the process if it writes a file itself and the disk is full
        torch.export.save(captured.program, content, extra_files={_MANIFEST: canonical_json(manifest)})
        path.write_bytes(content.getbuffer())

    def open(self, path: Path, *, optimised: bool) -> Run:
        """The loaded program as a module; it has no optimiser to turn off."""
        run = self.open_outputs(path, optimised=optimised)
        return lambda rows: run(rows)[0]

    def open_outputs(self, path: Path, *, optimised: bool) -> RunAll:
        """The same, with all outputs."""
        del optimised
        module = torch.export.load(path).module()

        def run(rows: Array) -> Sequence[Array]:
            with torch.no_grad():
                return [output.numpy() for output in all_of(module(torch.from_numpy(rows)))]

        return run

    def open_noise(self, path: Path, *, optimised: bool) -> NoiseRuns:
        """The loaded program, its operators watched as they run."""
        del optimised
        return noise_runs(torch.export.load(path).module())

    def open_named_noise(self, path: Path, manifest: Mapping[str, Any], *, optimised: bool) -> NamedNoiseRuns:
        """The same, with inputs and outputs by name."""
        return named_noise_runs(self.open_named(path, manifest, optimised=optimised))

    def open_named(
        self, path: Path, manifest: Mapping[str, Any], *, optimised: bool, seed: int | None = None
    ) -> NamedRun:
        """The loaded program, whose inputs and outputs have the order of the manifest."""
        del optimised
        return named_run(torch.export.load(path).module(), manifest, seed)

    def open_perturbed(self, path: Path, *, seed: int) -> Run:
        """The loaded program, its operators' results moved as they run."""
        module = torch.export.load(path).module()
        return perturbed_run(lambda rows: first_of(module(rows)), seed)

    def manifest(self, path: Path) -> Mapping[str, Any]:
        """The manifest among the extra files."""
        extra = {_MANIFEST: ""}
        torch.export.load(path, extra_files=extra)
        document: Mapping[str, Any] = json.loads(extra[_MANIFEST])
        return document

    def inspect(self, path: Path, manifest: Mapping[str, Any]) -> Sequence[Check]:
        """Judges the loaded graph as the captured one was judged."""
        return judge(torch.export.load(path), draws_of(manifest))
