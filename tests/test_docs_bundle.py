"""docs/bundle.md tells every key that a bundle's manifest holds, and tells no other."""

from __future__ import annotations

import json
import re
import typing
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from made_bundles import row_request, rows
from made_docs import DOCS
from runs import Place, standing_in
from torch import nn

import regplug
from regplug.bundles.request import Layout
from regplug.bundles.writing import write_bundle
from regplug.exporting import export_module

PAGE = (DOCS / "bundle.md").read_text(encoding="utf-8")
FREE = ("config", "versions", "not_asked")
"""Mappings whose keys are not those of the bundle."""


def words(text: str) -> set[str]:
    return set(re.findall(r"`([a-z_0-9]+)`", text))


def table(heading: str, end: str) -> dict[str, set[str]]:
    """The keys in the first column of a section's tables, with the words that its line tells."""
    lines = PAGE.partition(f"\n## {heading}\n")[2].partition(end)[0].splitlines()
    cells = [line.strip("|").split("|", 1) for line in lines if line.startswith("| `")]
    return {key: words(told) for first, told in cells for key in words(first)}


def keys(document: Any) -> set[str]:
    """All keys of a document, at any depth."""
    if isinstance(document, list):
        return {key for item in document for key in keys(item)}
    if not isinstance(document, dict):
        return set()
    inner = {key for name, value in document.items() if name not in FREE for key in keys(value)}
    return inner if all("." in name for name in document) else inner | set(document)


@pytest.fixture(scope="module")
def manifests(tmp_path_factory: pytest.TempPathFactory) -> list[dict[str, Any]]:
    """Of a tracked run in all formats, of a stochastic module of the user's own, and of an ensemble of two runs."""
    with standing_in(tmp_path_factory.mktemp("bundles")) as folder:
        formats = ["onnx", "torchscript", "pt2", "onnx_fp16", "onnx_int8"]
        place = Place(folder)
        run = place.run(dataset="digits", model="mlp:hidden=[32]", epochs=3, export=True, format=formats)
        other = place.run(dataset="digits", model="linear", epochs=1)
        assert run.bundle_path is not None
        tracked = (folder / run.bundle_path).absolute()
        both, formats = [run.run_id, other.run_id], ["torchscript"]
        several = regplug.export(both, ensemble=True, formats=formats, license_id="mit").path.absolute()
    torch.manual_seed(0)
    net = nn.Sequential(nn.Flatten(), nn.Linear(12, 8), nn.Dropout(0.5), nn.Linear(8, 2))
    sequences = np.random.default_rng(0).normal(size=(20, 4, 3)).astype(np.float32)
    own = export_module(net, sequences, folder / "own", formats=["onnx"], stochastic=True).path
    names = {path.name for path in tracked.iterdir()}
    assert not [name for name in names if f"`{name}`" not in PAGE]
    return [json.loads((path / "manifest.json").read_text()) for path in (tracked, own, several)]


@pytest.mark.slow
def test_every_key_that_is_written_is_told_and_no_other(manifests: list[dict[str, Any]]) -> None:
    written = {key for manifest in manifests for key in keys(manifest)}
    told = table("manifest.json", "\n## ")
    stochastic = table("Stochastic", "A stochastic bundle has its own checks")
    at_top = {key for manifest in manifests for key in manifest}
    assert set(told) == at_top
    assert set(stochastic) == set(manifests[1]["stochastic"])
    everything = set(told) | set(stochastic) | words(PAGE)
    assert written - everything == set()


@pytest.mark.slow
def test_every_limit_of_a_small_format_is_told_and_no_other(manifests: list[dict[str, Any]]) -> None:
    written = set(manifests[0]["files"]["model.int8.onnx"]["may_lose"])
    paragraph = next(part for part in PAGE.split("\n\n") if part.startswith("`may_lose` holds"))
    assert words(paragraph) - {"may_lose"} == written


def test_every_layout_is_told() -> None:
    line = next(line for line in PAGE.splitlines() if line.startswith("| `input`"))
    assert set(typing.get_args(Layout)) <= words(line)


def test_the_checks_of_a_stochastic_bundle_are_those_that_are_told(tmp_path: Path) -> None:
    torch.manual_seed(0)
    net = nn.Sequential(nn.Linear(4, 16), nn.Dropout(0.5), nn.Linear(16, 3))
    test = (rows(30), np.arange(30) % 3)
    formats = [form for form in row_request(net).formats if form[0] == "onnx"]
    bundle = write_bundle(row_request(net, stochastic=True, formats=formats, test=test), tmp_path / "b").path
    made = {check.name.split(".")[1] for check in regplug.verify(bundle).checks if check.name.startswith("onnx.")}
    graph = {"manifest", "well_formed", "opset", "ir_version", "interface", "random_nodes", "constant_statistics"}
    graph |= {"no_reduction_over_batch", "weights_inside", "no_local_trace"}
    told = {
        key
        for key in table("Stochastic", "\n## Calibration")
        if key not in table("Stochastic", "A stochastic bundle has its own checks")
    }
    assert told | {"noise_off"} == made - graph
