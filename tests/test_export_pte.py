"""The format pte: lowered to ExecuTorch, proven, verified and refused like the others."""

from __future__ import annotations

import contextlib
import importlib.util
import json
import re
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import numpy as np
import pytest
import torch
from made_bundles import image_request, onnx_only, row_request, rows
from torch import Tensor, nn

import regplug
from regplug.api import NoParams
from regplug.bundles.layout import README, read_manifest, write_checksums
from regplug.bundles.verifying import verify_bundle
from regplug.bundles.writing import write_bundle
from regplug.errors import BundleError, ExportError, RequestError
from regplug_formats import PteParams, executorch_pte
from regplug_formats.pt2 import Pt2

IS_MISSING = importlib.util.find_spec("executorch") is None
needs_executorch = pytest.mark.skipif(IS_MISSING, reason="needs executorch: pip install 'regplug[executorch]'")
LARGEST = 10


class Tokens(nn.Module):
    """Codes of any length and a byte image to logits and an embedding."""

    def __init__(self) -> None:
        super().__init__()
        self.embed, self.head = nn.Embedding(9, 5), nn.Linear(6, 3)

    def forward(self, tokens: Tensor, image: Tensor) -> tuple[Tensor, Tensor]:
        embedding = torch.cat([self.embed(tokens).mean(1), image.float().mean((1, 2))[:, None] / 255], 1)
        return self.head(embedding), embedding


class Cast(nn.Module):
    """Numbers of another type, as float32."""

    def forward(self, raw: Tensor) -> Tensor:
        return raw.to(torch.float32)


def pte_form(largest_batch: int = LARGEST) -> executorch_pte.Pte:
    return executorch_pte.Pte(PteParams(largest_batch=largest_batch))


def named_bundle(folder: Path, tokens: tuple[object, ...] = ("length", 1, 12)) -> Path:
    draw = np.random.default_rng(0)
    inputs = {"tokens": draw.integers(0, 9, (70, 7)), "image": draw.integers(0, 256, (70, 4, 4), np.uint8)}
    regplug.export(
        Tokens().eval(),
        inputs,
        folder,
        outputs=("logits", "embedding"),
        dynamic={"tokens": {1: tokens}},
        formats=[f"pte:largest_batch={LARGEST}"],
    )
    return folder


@pytest.fixture(scope="module")
def bundles(tmp_path_factory: pytest.TempPathFactory) -> dict[str, Path]:
    folder, formats = tmp_path_factory.mktemp("pte"), [("pte", "model.pte", pte_form())]
    others = [*onnx_only(), ("pt2", "model.pt2", Pt2(NoParams()))]
    made = {
        # After pte, the others hold that it left the captured program alone.
        "rows": row_request(formats=[*formats, *others]),
        "images": image_request(formats=formats),
    }
    return {
        **{name: write_bundle(request, folder / name).path for name, request in made.items()},
        "named": named_bundle(folder / "named"),
    }


@pytest.fixture
def copied(bundles: dict[str, Path], tmp_path: Path) -> Path:
    """A bundle whose files a test may change."""
    for file in bundles["images"].iterdir():
        (tmp_path / file.name).write_bytes(file.read_bytes())
    return tmp_path


@contextlib.contextmanager
def refused(words: str, hint: str) -> Iterator[None]:
    with pytest.raises(ExportError, match=words) as caught:
        yield
    assert hint in caught.value.hint


def test_without_its_library_the_format_is_refused_before_anything_is_exported(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    monkeypatch.setattr(executorch_pte.importlib.util, "find_spec", lambda name: None)
    with pytest.raises(RequestError) as caught:
        regplug.run(epochs=1, model="linear", format=["pte"], tracking_uri=f"sqlite:///{tmp_path}/m.db")
    assert caught.value.message == "The format pte needs the library executorch, which is not installed."
    assert caught.value.hint == 'pip install "regplug[executorch]"'
    assert not list(tmp_path.iterdir())


@needs_executorch
@pytest.mark.slow
@pytest.mark.parametrize("name", ["rows", "images", "named"])
def test_a_bundle_declares_its_largest_batch_and_is_verified(name: str, bundles: dict[str, Path]) -> None:
    assert read_manifest(bundles[name])["files"]["model.pte"] == {"format": "pte", "largest_batch": LARGEST}
    report = verify_bundle(bundles[name])
    assert report.passed, report.failures
    made = {check.name.replace("logits.", "") for check in report.checks}
    assert {"pte.numbers.all.real", "pte.largest_batch.all", "pte.mixed_batches.all", "pte.random_operators"} <= made


@needs_executorch
@pytest.mark.slow
def test_predictions_of_more_rows_than_the_file_takes_are_those_of_onnxruntime(
    bundles: dict[str, Path], tmp_path: Path
) -> None:
    np.save(tmp_path / "new.npy", rows(4 * LARGEST + 3))
    known = regplug.predict(bundles["rows"], tmp_path / "new.npy")
    for name in ("pte", "pt2"):
        found = regplug.predict(bundles["rows"], tmp_path / "new.npy", format=name)
        assert [one.label for one in found.rows] == [one.label for one in known.rows]
        assert np.allclose([one.top[0][1] for one in found.rows], [one.top[0][1] for one in known.rows], atol=1e-5)


@needs_executorch
@pytest.mark.slow
def test_named_inputs_of_any_declared_length_are_predicted(bundles: dict[str, Path], tmp_path: Path) -> None:
    count = 2 * LARGEST + 1
    np.savez(tmp_path / "new.npz", tokens=np.ones((count, 12), np.int64), image=np.ones((count, 4, 4), np.uint8))
    found = regplug.predict(bundles["named"], tmp_path / "new.npz", format="pte")
    assert [len(one.outputs["embedding"]) for one in found.rows] == [6] * count


@needs_executorch
@pytest.mark.slow
def test_a_file_itself_refuses_more_rows_than_it_declares(bundles: dict[str, Path]) -> None:
    run = pte_form().open(bundles["rows"] / "model.pte", optimised=True)
    with pytest.raises(BundleError) as caught:
        run(rows(LARGEST + 1))
    assert caught.value.message == f"model.pte takes at most {LARGEST} rows in one call, and got {LARGEST + 1}."
    assert f"pte:largest_batch={LARGEST + 1}" in caught.value.hint


@needs_executorch
@pytest.mark.slow
@pytest.mark.parametrize("name", ["rows", "named"])
def test_the_program_of_the_card_computes_the_recorded_outputs(
    name: str, bundles: dict[str, Path], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(bundles[name])
    programs = re.findall(r"```python\n(.*?)```", Path(README).read_text(encoding="utf-8"), re.DOTALL)
    (program,) = (one for one in programs if "executorch" in one)
    made: dict[str, Tensor] = {}
    with executorch_pte.silenced():
        exec(program, made)  # noqa: S102 - the program under test
    known = np.load("sample_output.npz")["logits"]
    assert np.allclose(made["logits"], known[: len(made["logits"])], atol=1e-4)


@needs_executorch
@pytest.mark.slow
def test_changed_weights_are_found_even_with_new_checksums(copied: Path) -> None:
    program = np.fromfile(copied / "model.pte", np.uint8)
    floats = program[: len(program) // 4 * 4].view(np.float32)
    floats[(np.abs(floats) > 1e-3) & (np.abs(floats) < 10)] *= 1.01  # the whole numbers among them are far smaller
    program.tofile(copied / "model.pte")
    write_checksums(copied)
    assert any(check.name.startswith("pte.numbers") for check in verify_bundle(copied).failures)


@needs_executorch
@pytest.mark.slow
def test_another_largest_batch_in_the_manifest_is_found(copied: Path) -> None:
    manifest = json.loads((copied / "manifest.json").read_text())
    manifest["files"]["model.pte"]["largest_batch"] = 11
    (copied / "manifest.json").write_text(json.dumps(manifest))
    write_checksums(copied)
    assert {"pte.manifest", "pte.largest_batch"} <= {check.name for check in verify_bundle(copied).failures}


@needs_executorch
@pytest.mark.slow
def test_what_executorch_cannot_hold_is_refused_by_name(tmp_path: Path) -> None:
    formats = [("pte", "model.pte", pte_form())]
    whole = rows().round().clip(0, 10)
    with refused("no kernels for inputs of type uint16", "Give the inputs as uint8"):
        write_bundle(row_request(preprocess=Cast(), samples=whole.astype(np.uint16), formats=formats), tmp_path / "a")
    with refused("axis 'length', and none is declared", "('length', least, greatest)"):
        named_bundle(tmp_path / "b", ("length",))
    with pytest.raises(RequestError, match="pte does not support live dropout"):
        row_request(stochastic=True, formats=formats).validate()
    assert not [path for path in tmp_path.iterdir() if path.suffix != ".lock"]


@needs_executorch
@pytest.mark.slow
def test_a_run_exports_the_format_without_telemetry_or_output(tmp_path: Path) -> None:
    command = ["run", "--epochs", "1", "--model", "linear", "--format", "onnx", "--format", "pte"]
    program = (
        "import sys; sys.addaudithook(lambda event, args: event == 'socket.connect' and sys.exit(f'connects: {args}'));"
        "from regplug.cli import main; main()"
    )
    said = subprocess.run([sys.executable, "-c", program, *command], cwd=tmp_path, capture_output=True, text=True)
    assert said.returncode == 0, said.stderr
    assert not re.search(r"cpuinfo|executorch|Warning|\.cpp", said.stderr)
    (bundle,) = (tmp_path / "bundles").iterdir()
    assert read_manifest(bundle)["files"]["model.pte"]["largest_batch"] == 64
