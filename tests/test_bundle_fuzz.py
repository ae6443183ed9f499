"""Whatever a manifest or a report holds, the answer is one clear error: never one of Python's own."""

from __future__ import annotations

import contextlib
import copy
import json
import shutil
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from made_bundles import onnx_only, row_request
from rewriting import change_manifest
from torch import nn

from regplug.bundles.describe import inspect_bundle
from regplug.bundles.layout import MANIFEST, VERIFICATION, canonical_json, write_checksums
from regplug.bundles.predict import predict
from regplug.bundles.schema import manifest_fault, report_fault
from regplug.bundles.verifying import verify_bundle
from regplug.bundles.writing import write_bundle
from regplug.errors import BundleError, RegplugError, RequestError, VerificationError

WRONG: tuple[Any, ...] = (
    None, True, False, 0, -1, 7, 10**30, 0.5, -0.0, 1e300, "", "x", "../x", "batch", "\x00", "ü" * 300,
    [], [None], [[]], ["x"], [1, 2], ["batch", 10**9], {}, {"x": {}}, {"": None}, {"model.onnx": 1},
)  # fmt: skip
"""One value of each kind that a field may hold instead of its own, and some that lie at the edge."""

FULL = {
    "run_id": "0123abcd",
    "column_names": ["a", "b", "c", "d"],
    "config": {"model": "mlp", "dataset": "digits", "reg": ["l2", "dropout"], "seed": 3, "epochs": 2},
    "dataset": {"name": "digits", "digest": "0" * 64},
    "plugins": [{"kind": "format", "name": "onnx", "distribution": "regplug", "version": "0.1.0"}],
}
LAYER = {"name": "2", "kind": "Dropout", "rate": 0.5, "mask": ["batch", 16]}
STOCHASTIC = {"kind": "mc_dropout", "layers": [LAYER], "not_live": ["3"], "passes": 512}


@pytest.fixture(scope="module")
def proven(tmp_path_factory: pytest.TempPathFactory) -> Path:
    request = row_request(nn.Linear(4, 3), formats=onnx_only(), manifest=FULL)
    folder = tmp_path_factory.mktemp("proven")
    np.save(folder / "x.npy", np.zeros((2, 4), np.float32))
    return write_bundle(request, folder / "bundle").path


def fields(document: Any, path: tuple[Any, ...] = ()) -> Iterator[tuple[Any, ...]]:
    """The path of every field, those that hold others included; of a long list the first item."""
    items = document.items() if isinstance(document, dict) else enumerate(document[:1])
    for key, value in items:
        yield (*path, key)
        if isinstance(value, dict | list):
            yield from fields(value, (*path, key))


def mutants(document: Any) -> Iterator[tuple[str, Any]]:
    """The document with each field missing, and with each wrong value in its place."""
    for path in fields(document):
        for value in (..., *WRONG):
            mutant = copy.deepcopy(document)
            place = mutant
            for key in path[:-1]:
                place = place[key]
            if value is ...:
                del place[path[-1]]
            else:
                place[path[-1]] = copy.deepcopy(value)
            if mutant != document:
                yield f"{'.'.join(map(str, path))} = {str(value)[:30]}", mutant


def answers(bundle: Path) -> str:
    """What verify says of a bundle that is not sound, and whether all that reads it ends in words."""
    with contextlib.suppress(RegplugError):
        inspect_bundle(bundle)
    with contextlib.suppress(RegplugError):
        predict(bundle, [bundle.parent / "x.npy"])
    try:
        report = verify_bundle(bundle)
    except (BundleError, RequestError) as error:
        return error.message
    assert not report.passed
    return "\n".join(str(check) for check in report.failures)


@pytest.fixture
def bundle(proven: Path, tmp_path: Path) -> Path:
    shutil.copy(proven.parent / "x.npy", tmp_path / "x.npy")
    return shutil.copytree(proven, tmp_path / "bundle")


def test_every_wrong_field_of_a_manifest_is_refused_by_its_name(bundle: Path) -> None:
    manifest = json.loads((bundle / MANIFEST).read_text())
    assert manifest_fault(manifest) == ""
    tried = 0
    for name, mutant in mutants(manifest):
        fault = manifest_fault(mutant)
        if not fault:
            continue
        tried += 1
        (bundle / MANIFEST).write_text(json.dumps(mutant))
        if tried % 10 == 0:
            # Nothing but the schema tells of these, so most need no whole round.
            write_checksums(bundle)
            assert "schema" in answers(bundle), name
    assert tried > 800


def test_every_wrong_field_of_a_stochastic_part_is_refused(bundle: Path) -> None:
    manifest = {**json.loads((bundle / MANIFEST).read_text()), "stochastic": STOCHASTIC}
    assert manifest_fault(manifest) == ""
    faults = [manifest_fault({**manifest, "stochastic": mutant}) for _, mutant in mutants(STOCHASTIC)]
    assert all(fault == "" or fault.startswith("stochastic") for fault in faults)
    assert sum(map(bool, faults)) > 200


def test_every_wrong_field_of_a_report_is_refused(bundle: Path) -> None:
    report = json.loads((bundle / VERIFICATION).read_text())
    assert report_fault(report) == ""
    faulty = [(name, mutant) for name, mutant in mutants(report) if report_fault(mutant)]
    assert len(faulty) > 100
    for name, mutant in faulty:
        (bundle / VERIFICATION).write_text(json.dumps(mutant))
        write_checksums(bundle)
        assert "bundle.proven_at_export" in answers(bundle), name


@pytest.mark.parametrize("document", [None, True, 3, "x", [], [1], {}, {"schema_version": 1}])
def test_what_is_no_manifest_or_report_at_all_is_refused(document: Any, bundle: Path) -> None:
    for name in (MANIFEST, VERIFICATION):
        before = (bundle / name).read_text()
        (bundle / name).write_text(json.dumps(document))
        write_checksums(bundle)
        assert "schema" in answers(bundle)
        with pytest.raises(VerificationError, match="schema"):
            inspect_bundle(bundle)
        (bundle / name).write_text(before)


@pytest.mark.slow
def test_a_field_that_could_be_right_and_is_not_ends_in_words(proven: Path, tmp_path: Path) -> None:
    """The same manifest stands inside the model, so only what is done with its fields can tell."""
    manifest = json.loads((proven / MANIFEST).read_text())
    free = ("run_id", "config", "dataset", "plugins", "versions", "state_sha256", "baked_in", "schema_version")
    tried = 0
    for name, mutant in mutants(manifest):
        if manifest_fault(mutant) or name.startswith(free):
            continue
        tried += 1
        bundle = shutil.copytree(proven, tmp_path / str(tried) / "bundle")
        shutil.copy(proven.parent / "x.npy", bundle.parent / "x.npy")
        change_manifest(bundle, lambda _, mutant=mutant: mutant)
        assert canonical_json(json.loads((bundle / MANIFEST).read_text())) == canonical_json(mutant)
        try:
            assert answers(bundle), name
        except AssertionError:
            # Names of columns and classes are free as well, as long as they are as many; bundles that are older than
            # calibration lack its key.
            assert name.startswith(("column_names", "class_names")) or name == "calibration = Ellipsis", name
    assert tried > 10
