"""The format openvino: converted, proven, verified and refused like the others."""

from __future__ import annotations

import importlib.util
import json
import re
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest
from made_bundles import image_request, onnx_only, row_request
from named_kinds import IMAGES, META, NAMES, Both, Unit

import regplug
from regplug.bundles.layout import README, read_manifest, write_checksums
from regplug.bundles.verifying import verify_bundle
from regplug.bundles.writing import write_bundle
from regplug.errors import RequestError
from regplug_formats import OnnxParams, openvino_ir

IS_MISSING = importlib.util.find_spec("openvino") is None
needs_openvino = pytest.mark.skipif(IS_MISSING, reason="needs openvino: pip install 'regplug[openvino]'")


@pytest.fixture(scope="module")
def bundles(tmp_path_factory: pytest.TempPathFactory) -> dict[str, Path]:
    folder, formats = tmp_path_factory.mktemp("openvino"), [("openvino", "model.xml", openvino_form())]
    made = {"rows": row_request(formats=[*onnx_only(), *formats]), "images": image_request(formats=formats)}
    return {name: write_bundle(request, folder / name).path for name, request in made.items()}


def openvino_form() -> openvino_ir.OpenVino:
    return openvino_ir.OpenVino(OnnxParams())


@pytest.fixture
def copied(bundles: dict[str, Path], tmp_path: Path) -> Path:
    """A bundle whose files a test may change."""
    for file in bundles["images"].iterdir():
        (tmp_path / file.name).write_bytes(file.read_bytes())
    return tmp_path


def failures(bundle: Path) -> list[str]:
    write_checksums(bundle)
    return [check.name for check in verify_bundle(bundle).failures]


def test_without_its_library_the_format_is_refused_before_anything_is_exported(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    monkeypatch.setattr(openvino_ir.importlib.util, "find_spec", lambda name: None)
    with pytest.raises(RequestError) as caught:
        regplug.run(epochs=1, model="linear", format=["openvino"], tracking_uri=f"sqlite:///{tmp_path}/m.db")
    assert caught.value.message == "The format openvino needs the library openvino, which is not installed."
    assert caught.value.hint == 'pip install "regplug[openvino]"'
    assert not list(tmp_path.iterdir())


@needs_openvino
@pytest.mark.slow
def test_a_bundle_has_graph_and_weights_and_is_verified(bundles: dict[str, Path]) -> None:
    for bundle in bundles.values():
        assert {"model.xml", "model.bin"} <= {path.name for path in bundle.iterdir()}
        assert read_manifest(bundle)["files"]["model.xml"] == {"format": "openvino", "weights": "model.bin"}
        report = verify_bundle(bundle)
        assert report.passed
        made = {check.name for check in report.checks}
        assert {"openvino.numbers.all.real", "openvino.clean_process", "openvino.random_nodes"} <= made
        assert "| `model.bin` |" in (bundle / README).read_text(encoding="utf-8")


@needs_openvino
@pytest.mark.slow
def test_the_program_of_the_card_computes_the_recorded_outputs(
    bundles: dict[str, Path], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(bundles["rows"])
    programs = re.findall(r"```python\n(.*?)```", Path(README).read_text(encoding="utf-8"), re.DOTALL)
    (program,) = (one for one in programs if "openvino" in one)
    made: dict[str, np.ndarray] = {}
    exec(program, made)  # noqa: S102 - the program under test
    assert np.allclose(made["logits"], np.load("sample_output.npz")["logits"][:5], atol=1e-4)


@needs_openvino
@pytest.mark.slow
def test_named_inputs_symbolic_sizes_and_prediction_sets_are_supported(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    arrays = {"image": IMAGES, "meta": META}
    bundle = regplug.export(
        Both(),
        arrays,
        tmp_path / "b",
        outputs=("logits", "embedding"),
        dynamic={"image": {2: "height", 3: "width"}},
        class_names=NAMES,
        preprocess={"image": Unit()},
        conformal=0.5,
        validation=(arrays, np.arange(len(META)) % 3),
        formats=["onnx", "openvino"],
    ).path
    made = {check.name for check in verify_bundle(bundle).checks if check.passed}
    assert {"openvino.names", "openvino.shapes", "openvino.sets.all", "openvino.clean_process"} <= made
    assert verify_bundle(bundle).passed
    np.savez(tmp_path / "rows.npz", image=np.tile(IMAGES, (1, 1, 2, 1)), meta=META)
    known, found = (regplug.predict(bundle, tmp_path / "rows.npz", format=form).rows for form in ("onnx", "openvino"))
    assert [one.prediction_set for one in known] == [one.prediction_set for one in found]
    assert np.allclose(
        [one.outputs["embedding"] for one in known], [one.outputs["embedding"] for one in found], atol=1e-4
    )
    monkeypatch.chdir(bundle)
    programs = re.findall(r"```python\n(.*?)```", Path(README).read_text(encoding="utf-8"), re.DOTALL)
    (program,) = (one for one in programs if "openvino" in one)
    exec(program, {})  # noqa: S102 - the program under test
    assert "sets (5, 3)" in capsys.readouterr().out


@needs_openvino
@pytest.mark.slow
def test_changed_weights_are_found_even_with_new_checksums(copied: Path) -> None:
    weights = np.fromfile(copied / "model.bin", np.uint8)
    floats = weights[: len(weights) // 4 * 4].view(np.float32)
    floats[(np.abs(floats) > 1e-3) & (np.abs(floats) < 10)] *= 1.01  # the whole numbers among them are far smaller
    weights.tofile(copied / "model.bin")
    assert any(name.startswith("openvino.numbers") for name in failures(copied))


@needs_openvino
@pytest.mark.slow
def test_missing_and_renamed_weights_are_found(copied: Path) -> None:
    manifest = json.loads((copied / "manifest.json").read_text())
    manifest["files"]["model.xml"]["weights"] = "other.bin"
    (copied / "manifest.json").write_text(json.dumps(manifest))
    assert failures(copied) == ["bundle.contents"]
    (copied / "model.bin").rename(copied / "other.bin")
    assert failures(copied) == ["bundle.readme", "bundle.facts"]
    manifest["files"]["model.xml"]["weights"] = "../model.bin"
    (copied / "manifest.json").write_text(json.dumps(manifest))
    assert failures(copied) == ["bundle.schema"]


@needs_openvino
@pytest.mark.slow
def test_a_run_exports_the_format_without_telemetry_or_output(tmp_path: Path) -> None:
    command = ["run", "--epochs", "1", "--model", "linear", "--format", "onnx", "--format", "openvino"]
    program = (
        "import sys; sys.addaudithook(lambda event, args: event == 'socket.connect' and sys.exit(f'connects: {args}'));"
        "from regplug.cli import main; main()"
    )
    said = subprocess.run([sys.executable, "-c", program, *command], cwd=tmp_path, capture_output=True, text=True)
    assert said.returncode == 0, said.stderr
    assert list(tmp_path.glob("bundles/*/model.bin"))
