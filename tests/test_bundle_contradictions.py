"""A bundle that contradicts itself is refused at once, although every checksum was made anew."""

from __future__ import annotations

import contextlib
import shutil
import time
from pathlib import Path

import numpy as np
import pytest
from contradictions import CONTRADICTIONS
from made_bundles import row_request
from planting import add_zeros

from regplug.bundles.describe import inspect_bundle
from regplug.bundles.layout import write_checksums
from regplug.bundles.predict import predict
from regplug.bundles.verifying import verify_bundle
from regplug.bundles.writing import write_bundle
from regplug.errors import BundleError, RegplugError

LEAST_FAULTS = 60
RAW = ("KeyError", "AttributeError", "TypeError", "IndexError", "RecursionError", "MemoryError")


@pytest.fixture(scope="module")
def proven(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return write_bundle(row_request(), tmp_path_factory.mktemp("proven") / "bundle").path


@pytest.fixture
def bundle(proven: Path, tmp_path: Path) -> Path:
    return shutil.copytree(proven, tmp_path / "bundle")


def test_there_are_enough_faults_and_none_is_seen_in_the_bundle_itself(bundle: Path) -> None:
    assert len(CONTRADICTIONS) >= LEAST_FAULTS
    assert verify_bundle(bundle).passed


@pytest.mark.parametrize("name", CONTRADICTIONS)
def test_a_contradiction_is_found_by_its_check_and_at_once(name: str, bundle: Path) -> None:
    plant, check = CONTRADICTIONS[name]
    plant(bundle)
    start = time.process_time()
    failures = {found.name: str(found) for found in verify_bundle(bundle).failures}
    assert check in failures
    assert not [word for word in RAW if word in failures[check]], failures[check]
    assert time.process_time() - start < 10
    np.save(bundle.parent / "x.npy", np.zeros((1, 4), np.float32))
    with contextlib.suppress(RegplugError):
        inspect_bundle(bundle)
    with contextlib.suppress(RegplugError):
        predict(bundle, [bundle.parent / "x.npy"])


@pytest.mark.slow
def test_three_gigabytes_in_three_megabytes_are_refused_before_they_are_unpacked(bundle: Path) -> None:
    packed = bundle.parent / "packed.npz"
    add_zeros(packed, "input", 3 * 2**30)
    assert packed.stat().st_size < 4e6
    shutil.copy(packed, bundle / "sample_input.npz")
    write_checksums(bundle)
    start = time.process_time()
    assert "bundle.sizes" in {check.name for check in verify_bundle(bundle).failures}
    with pytest.raises(BundleError, match="shape"):
        predict(bundle, [packed])
    assert time.process_time() - start < 2
