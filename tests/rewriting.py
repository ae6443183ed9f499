"""Bundles changed as someone would change them who also writes the checksums anew."""

from __future__ import annotations

import json
import warnings
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import numpy as np
import onnx
import torch
from made_stochastic import all_three
from torch import nn

from regplug.bundles.capture import capture
from regplug.bundles.formats import Captured
from regplug.bundles.isolate import Deployed
from regplug.bundles.layout import MANIFEST, canonical_json, write_checksums

_INSIDE = "regplug.manifest.json"


@contextmanager
def quietly() -> Iterator[None]:
    with warnings.catch_warnings(), torch.no_grad():
        warnings.simplefilter("ignore")
        yield


def rewrite(bundle: Path, preprocess: nn.Module, network: nn.Module, filename: str = "") -> None:
    """Writes another network into one or every model file of a bundle, with the bundle's own manifest inside."""
    manifest = json.loads((bundle / MANIFEST).read_text())
    given, answer = manifest["input"]["name"], manifest["output"]["name"]
    with np.load(bundle / "sample_input.npz") as samples:
        example = torch.from_numpy(samples[given][:3])
    deployed = Deployed(preprocess, network, "").eval().requires_grad_(False)
    # A traced file holds nothing of the captured program, and some faults cannot be captured.
    plain = Deployed(nn.Identity(), nn.Identity(), "")
    program = capture(plain if filename == "model.ts" else deployed, example)[0]
    captured = Captured(module=deployed, program=program, example=example, input_name=given, output_name=answer)
    with quietly():
        for _, name, form in all_three():
            if name in manifest["files"] and name.startswith(filename):
                form.write(captured, bundle / name, manifest)
    write_checksums(bundle)


def change_json(bundle: Path, filename: str, change: Callable[[Any], Any]) -> None:
    """Changes a JSON file in place, or to what the change returns; the checksums hold."""
    document = json.loads((bundle / filename).read_text())
    other = change(document)
    (bundle / filename).write_text(json.dumps(document if other is None else other))
    write_checksums(bundle)


def change_manifest(bundle: Path, change: Callable[[Any], Any]) -> None:
    """Changes the manifest, and the copy of it inside each model file."""
    change_json(bundle, MANIFEST, change)
    text = canonical_json(json.loads((bundle / MANIFEST).read_text()))
    for path in bundle.iterdir():
        if path.name in _WRITERS:
            with quietly():
                _WRITERS[path.name](path, text)
    write_checksums(bundle)


def _onnx_manifest(path: Path, text: str) -> None:
    model = onnx.load(path)
    model.metadata_props[0].value = text
    onnx.save(model, path)


def _torchscript_manifest(path: Path, text: str) -> None:
    torch.jit.save(torch.jit.load(str(path)), str(path), _extra_files={_INSIDE: text})


def _pt2_manifest(path: Path, text: str) -> None:
    torch.export.save(torch.export.load(path), path, extra_files={_INSIDE: text})


_WRITERS = {"model.onnx": _onnx_manifest, "model.ts": _torchscript_manifest, "model.pt2": _pt2_manifest}


def change_arrays(path: Path, change: Callable[[dict[str, np.ndarray]], Any]) -> None:
    """Changes the arrays of an archive in place; the checksums hold."""
    with np.load(path) as archive:
        arrays = {name: archive[name].copy() for name in archive.files}
    change(arrays)
    np.savez(path, **arrays)
    write_checksums(path.parent)
