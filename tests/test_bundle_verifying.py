"""A bundle is proven again from its files alone; what was changed is found and named."""

from __future__ import annotations

import json
import shutil
from collections.abc import Callable
from pathlib import Path

import numpy as np
import onnx
import pytest
import torch
from made_bundles import image_request, row_request
from onnx import helper, numpy_helper
from torch import nn

from regplug.bundles.describe import inspect_bundle
from regplug.bundles.layout import CHECKSUMS, SCHEMA_VERSION, write_checksums
from regplug.bundles.report import Report, at_most, holds
from regplug.bundles.verifying import verify_bundle
from regplug.bundles.writing import write_bundle
from regplug.errors import BundleError, RegplugError, UnknownComponentError


@pytest.fixture(scope="module")
def proven(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return write_bundle(row_request(), tmp_path_factory.mktemp("proven") / "bundle").path


@pytest.fixture
def bundle(proven: Path, tmp_path: Path) -> Path:
    return shutil.copytree(proven, tmp_path / "bundle")


def failed(bundle: Path) -> str:
    """What failed, as text; the checks that failed must be some."""
    report = verify_bundle(bundle)
    assert not report.passed
    return "\n".join(str(check) for check in report.failures)


def test_a_bundle_moved_elsewhere_is_proven_again(bundle: Path) -> None:
    report = verify_bundle(bundle)
    assert report.passed
    names = {check.name for check in report.checks}
    assert {"bundle.checksums", "bundle.schema", "onnx.manifest", "onnx.clean_process"} <= names
    assert {f"{f}.numbers.{o}.real" for f in ("onnx", "torchscript") for o in ("all", "disabled")} <= names


@pytest.mark.parametrize("name", ["model.onnx", "model.ts", "manifest.json", "sample_output.npz", "verification.json"])
def test_one_changed_byte_is_found(bundle: Path, name: str) -> None:
    content = bytearray((bundle / name).read_bytes())
    content[len(content) // 2] ^= 1
    (bundle / name).write_bytes(content)
    assert f"{name} is not the verified file" in failed(bundle)


def test_a_truncated_file_is_found(bundle: Path) -> None:
    content = (bundle / "model.onnx").read_bytes()
    (bundle / "model.onnx").write_bytes(content[: len(content) // 2])
    assert "model.onnx is not the verified file" in failed(bundle)


@pytest.mark.parametrize("name", ["model.ts", "sample_input.npz", "manifest.json"])
def test_a_missing_file_is_found(bundle: Path, name: str) -> None:
    (bundle / name).unlink()
    assert f"{name} is missing" in failed(bundle)


def test_a_bundle_without_checksums_is_not_proven(bundle: Path) -> None:
    (bundle / CHECKSUMS).unlink()
    assert "SHA256SUMS cannot be read" in failed(bundle)


@pytest.mark.parametrize("text", ["", "no checksum\n", f"{'0' * 64}  ../elsewhere\n"])
def test_checksums_that_are_none_are_found(bundle: Path, text: str) -> None:
    (bundle / CHECKSUMS).write_text(text)
    assert CHECKSUMS in failed(bundle)


def test_an_extra_file_is_found(bundle: Path) -> None:
    (bundle / "payload.bin").write_bytes(b"?")
    assert "no_extra_file: 1 (limit 0) payload.bin" in failed(bundle)


def test_a_manifest_of_another_schema_is_found_though_its_checksum_holds(bundle: Path) -> None:
    manifest = json.loads((bundle / "manifest.json").read_text())
    (bundle / "manifest.json").write_text(json.dumps({**manifest, "schema_version": 99}))
    write_checksums(bundle)
    assert f"schema version 99; this regplug reads {SCHEMA_VERSION}" in failed(bundle)


def test_a_file_swapped_with_another_bundles_is_found_though_its_checksum_holds(bundle: Path, tmp_path: Path) -> None:
    other = write_bundle(row_request(nn.Linear(4, 3)), tmp_path / "other").path
    for name in ("model.onnx", "model.ts"):
        shutil.copy(other / name, bundle / name)
    write_checksums(bundle)
    message = failed(bundle)
    for name in ("onnx", "torchscript"):
        assert f"{name}.manifest: the file belongs to another bundle" in message
        assert f"{name}.numbers.all.real" in message


def test_a_file_that_is_left_out_of_the_checksums_is_found(bundle: Path) -> None:
    (bundle / "model.ts").unlink()
    write_checksums(bundle)
    assert "missing: model.ts" in failed(bundle)


def test_a_report_that_says_failed_is_believed(bundle: Path) -> None:
    report = Report(checks=(holds("a", True), at_most("b", 2.0, 1.0)))
    (bundle / "verification.json").write_text(json.dumps(report.as_json()))
    write_checksums(bundle)
    assert "2 checks at export, 1 failed" in failed(bundle)


def plant_dropout(model: onnx.ModelProto) -> None:
    """What an export in training mode leaves behind; the runtime's optimiser would hide it."""
    last = model.graph.node[-1]
    training = helper.make_node(
        "Constant", [], ["on"], value=helper.make_tensor("on", onnx.TensorProto.BOOL, [], [True])
    )
    ratio = helper.make_node("Constant", [], ["p"], value=helper.make_tensor("p", onnx.TensorProto.FLOAT, [], [0.5]))
    dropout = helper.make_node("Dropout", [last.input[0], "p", "on"], ["dropped"])
    last.input[0] = "dropped"
    nodes = [*model.graph.node[:-1], training, ratio, dropout, last]
    del model.graph.node[:]
    model.graph.node.extend(nodes)


def plant_batch_statistics(model: onnx.ModelProto) -> None:
    last = model.graph.node[-1]
    axes = numpy_helper.from_array(np.array([0]), "batch_axis")
    model.graph.initializer.append(axes)
    mean = helper.make_node("ReduceMean", [last.input[0], "batch_axis"], ["batch_mean"], keepdims=1)
    centred = helper.make_node("Sub", [last.input[0], "batch_mean"], ["centred"])
    last.input[0] = "centred"
    nodes = [*model.graph.node[:-1], mean, centred, last]
    del model.graph.node[:]
    model.graph.node.extend(nodes)


def plant_fixed_batch(model: onnx.ModelProto) -> None:
    model.graph.input[0].type.tensor_type.shape.dim[0].dim_value = 64


def plant_other_opset(model: onnx.ModelProto) -> None:
    model.opset_import[0].version = 21


def plant_other_name(model: onnx.ModelProto) -> None:
    model.graph.node[-1].output[0] = "scores"
    model.graph.output[0].name = "scores"


def plant_nan(model: onnx.ModelProto) -> None:
    weight = max(model.graph.initializer, key=lambda i: len(i.raw_data))
    array = numpy_helper.to_array(weight).copy()
    array.flat[0] = np.nan
    weight.CopyFrom(numpy_helper.from_array(array, weight.name))


def plant_small_nudge(model: onnx.ModelProto) -> None:
    weight = max(model.graph.initializer, key=lambda i: len(i.raw_data))
    array = numpy_helper.to_array(weight).copy()
    array.flat[0] += 1e-4
    weight.CopyFrom(numpy_helper.from_array(array, weight.name))


def plant_local_path(model: onnx.ModelProto) -> None:
    model.graph.node[0].metadata_props.add(key="stack_trace", value="/home/someone/secret.py")


@pytest.mark.parametrize(
    ("plant", "check"),
    [
        (plant_dropout, "onnx.no_random_node"),
        (plant_batch_statistics, "onnx.no_reduction_over_batch"),
        (plant_batch_statistics, "onnx.row_alone.all"),
        (plant_fixed_batch, "onnx.interface"),
        (plant_other_opset, "onnx.opset"),
        (plant_other_name, "onnx.interface"),
        (plant_nan, "onnx.weights_inside"),
        (plant_small_nudge, "onnx.numbers.disabled.real"),
        (plant_local_path, "onnx.no_local_trace"),
    ],
)
def test_a_fault_planted_into_the_graph_is_found_though_checksums_hold(
    bundle: Path, plant: Callable[[onnx.ModelProto], None], check: str
) -> None:
    model = onnx.load(bundle / "model.onnx")
    plant(model)
    onnx.save(model, bundle / "model.onnx")
    write_checksums(bundle)
    assert check in {c.name for c in verify_bundle(bundle).failures}


def test_a_live_dropout_is_found_although_the_optimiser_hides_it_from_the_numbers(bundle: Path) -> None:
    model = onnx.load(bundle / "model.onnx")
    plant_dropout(model)
    onnx.save(model, bundle / "model.onnx")
    write_checksums(bundle)
    failures = {check.name for check in verify_bundle(bundle).failures}
    assert "onnx.repeat.disabled" in failures


def test_a_format_that_is_not_installed_is_asked_for_and_code_by_path_is_never_run(bundle: Path) -> None:
    manifest = json.loads((bundle / "manifest.json").read_text())
    for name, error in (("pickle", UnknownComponentError), ("./evil.py:Format", BundleError)):
        manifest["files"]["model.onnx"]["format"] = name
        (bundle / "manifest.json").write_text(json.dumps(manifest))
        write_checksums(bundle)
        with pytest.raises(error):
            verify_bundle(bundle)


@pytest.mark.parametrize("make", [lambda p: None, lambda p: p.mkdir(), lambda p: p.write_text("")])
def test_what_is_no_bundle_is_a_wrong_request(tmp_path: Path, make: Callable[[Path], None]) -> None:
    make(tmp_path / "thing")
    for ask in (verify_bundle, inspect_bundle):
        with pytest.raises(BundleError, match=r"no bundle|not a bundle"):
            ask(tmp_path / "thing")


def test_a_bundle_of_images_tells_what_it_is_in_ten_lines(tmp_path: Path) -> None:
    test = (np.zeros((4, 1, 8, 8), np.uint8), np.zeros(4, np.int64))
    config = {"model": "mlp", "reg": ["l2", "dropout"], "dataset": "digits", "seed": 3}
    network = nn.Sequential(nn.Flatten(), nn.Linear(64, 3))
    path = write_bundle(image_request(network, test=test, manifest={"config": config}), tmp_path / "b").path
    lines = inspect_bundle(path)
    assert len(lines) == 10
    text = "\n".join(lines)
    for words in (
        "3 classes: iris, rose, tulip",
        "mlp + l2 + dropout, trained on digits, seed 3",
        "inside: Normalize",
        "uint8 (batch, 1, 8, 8), image, 0 to 255",
        "test accuracy",
        "opset 20",
    ):
        assert words in text
    assert verify_bundle(path).passed


def test_inspect_says_what_cannot_be_read(bundle: Path) -> None:
    (bundle / "verification.json").write_text("{}")
    with pytest.raises(RegplugError, match="passed is missing"):
        inspect_bundle(bundle)


def test_inspect_takes_a_report_whose_accuracy_has_no_figure(bundle: Path) -> None:
    report = json.loads((bundle / "verification.json").read_text())
    report["checks"].append({"name": "onnx.test_accuracy", "passed": True, "figure": None, "limit": None, "detail": ""})
    (bundle / "verification.json").write_text(json.dumps(report))
    assert len(inspect_bundle(bundle)) == 10


def test_verification_leaves_the_random_state_alone(bundle: Path) -> None:
    before = torch.get_rng_state()
    verify_bundle(bundle)
    assert torch.equal(torch.get_rng_state(), before)


def test_json_of_another_encoding_is_not_read() -> None:
    from regplug.bundles.reading import parse_json

    for content in (b"\xef\xbb\xbf{}", "{}".encode("utf-16"), "{}".encode("utf-32")):
        with pytest.raises(ValueError, match=r"BOM|decode"):
            parse_json(content)


class NegatedInFives(nn.Module):
    def __init__(self, inner: nn.Module) -> None:
        super().__init__()
        self.inner = inner

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        y = self.inner(x)
        if x.size(0) == 5:
            y = -y
        return y


class Saving(nn.Module):
    def __init__(self, inner: nn.Module) -> None:
        super().__init__()
        self.inner = inner

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        y = self.inner(x)
        torch.save([y], "written_by_the_model.bin")
        return y


def wrapped(bundle: Path, kind: type[nn.Module]) -> None:
    """Puts another module around that of the TorchScript file."""
    path, manifest = bundle / "model.ts", (bundle / "manifest.json").read_text().rstrip("\n")
    module = torch.jit.script(kind(torch.jit.load(str(path))).eval())
    torch.jit.save(module, str(path), _extra_files={"regplug.manifest.json": manifest})
    write_checksums(bundle)


@pytest.mark.filterwarnings("ignore::FutureWarning", "ignore::DeprecationWarning")
def test_a_file_that_answers_otherwise_in_batches_of_five_is_found(bundle: Path) -> None:
    wrapped(bundle, NegatedInFives)
    assert "largest difference from torch in batches of 3, 4, 5" in failed(bundle)


@pytest.mark.filterwarnings("ignore::FutureWarning", "ignore::DeprecationWarning")
def test_a_file_that_writes_files_is_never_loaded(
    bundle: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    wrapped(bundle, Saving)
    assert "does more than compute: its code calls torch.save" in failed(bundle)
    assert not (tmp_path / "written_by_the_model.bin").exists()
