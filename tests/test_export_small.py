"""ONNX files of fewer bits: smaller, held to limits of their own, and refused where they lose more."""

from __future__ import annotations

import dataclasses

import numpy as np
import pytest
import torch
from torch import nn

import regplug
from regplug.bundles.describe import inspect_bundle
from regplug.bundles.layout import read_manifest
from regplug.cli.exporting import spelled
from regplug.errors import ExportError, VerificationError
from regplug_formats.onnx_small import OnnxInt8

pytestmark = pytest.mark.slow  # each test exports, or starts processes

SMALL = {"onnx_fp16": "model.fp16.onnx", "onnx_int8": "model.int8.onnx"}


def rows(count=300):
    return np.random.default_rng(0).normal(3, 2, (count, 20)).astype(np.float32)


@pytest.fixture(scope="module")
def network():
    """A classifier of the larger of two sums, nearly right."""
    with torch.random.fork_rng():
        torch.manual_seed(0)
        net = nn.Sequential(nn.Linear(20, 256), nn.ReLU(), nn.Linear(256, 256), nn.ReLU(), nn.Linear(256, 2))
        x = torch.from_numpy(rows())
        optimizer = torch.optim.Adam(net.parameters(), lr=1e-3)
        for _ in range(60):
            optimizer.zero_grad()
            nn.functional.cross_entropy(net(x), torch.from_numpy(targets())).backward()
            optimizer.step()
    return net


def targets():
    return (rows()[:, :10].sum(1) > rows()[:, 10:].sum(1)).astype(np.int64)


@pytest.fixture(scope="module")
def exported(network, tmp_path_factory):
    place = tmp_path_factory.mktemp("small") / "b"
    return regplug.export(network, rows(), place, formats=["onnx", *SMALL], test=(rows(), targets()))


@pytest.mark.parametrize(("name", "most"), [("onnx_fp16", 0.55), ("onnx_int8", 0.3)])
def test_a_small_file_is_smaller_and_tells_what_it_lost(exported, name, most):
    checks = {check.name: check for check in exported.verification.checks}
    assert (exported.path / SMALL[name]).stat().st_size < most * (exported.path / "model.onnx").stat().st_size
    assert checks[f"{name}.size"].figure < most
    assert "float32 has" in checks[f"{name}.test_accuracy"].detail
    assert checks[f"{name}.test_accuracy"].figure >= checks["onnx.test_accuracy"].figure - 0.02
    assert 0 < checks[f"{name}.numbers.all.real"].figure <= checks[f"{name}.numbers.all.real"].limit
    assert f"{name}.clean_process" in checks
    limits = read_manifest(exported.path)["files"][SMALL[name]]["may_lose"]
    assert limits["agreement"] >= 0.97
    assert set(limits["not_asked"]) <= {"large", "nonfinite"}
    assert name in "\n".join(inspect_bundle(exported.path))


def test_small_files_are_proven_again_by_verify(exported):
    report = regplug.verify(exported.path)
    assert report.passed
    assert {"onnx_fp16", "onnx_int8"} <= {check.name.partition(".")[0] for check in report.checks}


def test_predict_takes_a_small_file_where_there_is_no_other(network, exported, tmp_path):
    place = regplug.export(network, rows(), tmp_path / "b", formats=["onnx_int8"]).path
    answers = [regplug.predict(path, exported.path / "sample_input.npz", top=1) for path in (exported.path, place)]
    labels = [[row.label for row in answer.rows] for answer in answers]
    assert np.mean([a == b for a, b in zip(*labels, strict=True)]) > 0.95


def test_a_file_that_loses_more_than_its_format_allows_is_no_bundle(network, tmp_path, monkeypatch):
    strict = dataclasses.replace(OnnxInt8.loss, relative_error=1e-5)
    monkeypatch.setattr(OnnxInt8, "loss", strict)
    with pytest.raises(VerificationError, match=r"onnx_int8\.numbers\.all\.real"):
        regplug.export(network, rows(), tmp_path / "b", formats=["onnx_int8"])
    assert not list(tmp_path.iterdir())


def test_a_model_without_a_linear_layer_has_nothing_to_quantize(tmp_path):
    net = nn.Sequential(nn.Conv2d(1, 3, 4), nn.Flatten())
    with pytest.raises(ExportError, match="no linear layer"):
        regplug.export(
            net, np.zeros((3, 1, 4, 4), np.uint8), tmp_path / "b", formats=["onnx_int8"], preprocess=Floats()
        )


class Floats(nn.Module):
    def forward(self, raw):
        return raw.float()


def test_dashes_in_a_formats_name_are_taken_and_those_of_others_are_left():
    assert spelled("onnx-int8:opset=18") == "onnx_int8:opset=18"
    assert spelled("my-dist/tflite") == "my-dist/tflite"
    assert spelled("./my-format.py:Mine") == "./my-format.py:Mine"
