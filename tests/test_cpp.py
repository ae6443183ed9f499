"""C++ programs run a bundle: those in docs/cpp, compiled as docs/export.md says, and those of the model card."""

from __future__ import annotations

import importlib.util
import os
import re
import shutil
import subprocess
import sys
from pathlib import Path

import numpy as np
import onnxruntime
import pytest
import torch
from made_bundles import image_request, row_request
from named_kinds import IMAGES, META, Both, Unit

import regplug
from regplug.bundles.layout import README, read_manifest
from regplug.bundles.writing import write_bundle

DOCS = Path(__file__).parents[1] / "docs"
HEADERS = ("/usr/include/onnxruntime", "/usr/local/include/onnxruntime", f"{sys.prefix}/include/onnxruntime")
MOST_LINES = {"onnxruntime": 60, "libtorch": 60, "card": 15}


@pytest.fixture(scope="module")
def bundles(tmp_path_factory: pytest.TempPathFactory) -> dict[str, Path]:
    folder = tmp_path_factory.mktemp("cpp")
    made = {"rows": row_request(), "images": image_request()}
    return {name: write_bundle(request, folder / name).path for name, request in made.items()}


@pytest.fixture(scope="module")
def named(tmp_path_factory: pytest.TempPathFactory) -> Path:
    torch.manual_seed(0)
    inputs = {"image": IMAGES, "meta": META}
    axes = {"image": {2: "height", 3: "width"}}
    folder = tmp_path_factory.mktemp("named") / "b"
    return regplug.export(
        Both(), inputs, folder, outputs=["logits", "embedding"], dynamic=axes, preprocess={"image": Unit()}
    ).path


def answers_to_zeros(bundle: Path) -> list[np.ndarray]:
    """All outputs for a row of zeros of the example's size, as onnxruntime computes them in Python."""
    session = onnxruntime.InferenceSession(str(bundle / "model.onnx"))
    zeros = {"image": np.zeros_like(IMAGES[:1]), "meta": np.zeros_like(META[:1])}
    return [output[0] for output in session.run(None, zeros)]


def package(name: str) -> Path:
    found = importlib.util.find_spec(name)
    assert found is not None
    assert found.submodule_search_locations is not None
    return Path(found.submodule_search_locations[0])


def require_compiler() -> None:
    if shutil.which("g++") is None:
        pytest.skip("needs g++")


def require_onnxruntime() -> dict[str, str]:
    """The environment in which g++ finds onnxruntime's headers."""
    require_compiler()
    found = [folder for folder in HEADERS if (Path(folder) / "onnxruntime_cxx_api.h").is_file()]
    if not found:
        pytest.skip(f"needs onnxruntime's C++ headers in {' or '.join(HEADERS)} (Debian 13: libonnxruntime-dev)")
    if not list((package("onnxruntime") / "capi").glob("libonnxruntime.so.*")):
        pytest.skip("this wheel of onnxruntime has no library to link with")
    return {**os.environ, "CPATH": found[0]}


def compile_as_documented(source: Path, folder: Path, environment: dict[str, str]) -> Path:
    """Runs the commands of docs/export.md for a program, with another source or the same."""
    text = (DOCS / "export.md").read_text(encoding="utf-8")
    runtime = "libtorch" if "torch/script.h" in source.read_text(encoding="utf-8") else "onnxruntime"
    (block,) = re.findall(rf"```\n([^`]*docs/cpp/{runtime}\.cpp[^`]*)```", text)
    commands = re.sub(r"docs/cpp/\w+\.cpp", str(source), block)
    path = os.pathsep.join([str(Path(sys.executable).parent), environment["PATH"]])
    subprocess.run(["bash", "-ec", commands], cwd=folder, env={**environment, "PATH": path}, check=True)
    return folder / re.findall(r"-o ([\w-]+)", block)[0]


def raw_rows(bundle: Path, folder: Path) -> tuple[Path, np.ndarray, float]:
    """A file of raw rows, and torch's outputs with their tolerance."""
    manifest = read_manifest(bundle)
    file = folder / f"{bundle.name}.raw"
    np.load(bundle / "sample_input.npz")[manifest["input"]["name"]].tofile(file)
    known = np.load(bundle / "sample_output.npz")
    return file, known[manifest["output"]["name"]], float(known["tolerance"])


def printed(*command: str | Path, folder: Path | None = None) -> np.ndarray:
    said = subprocess.run([str(word) for word in command], cwd=folder, capture_output=True, text=True, check=True)
    return np.array([[float(word) for word in line.split()] for line in said.stdout.splitlines()])


def card_program(bundle: Path, header: str, folder: Path) -> Path:
    text = (bundle / README).read_text(encoding="utf-8")
    (program,) = (found for found in re.findall(r"```cpp\n(.*?)```", text, re.DOTALL) if header in found)
    assert program.count("\n") <= MOST_LINES["card"]
    file = folder / "card.cpp"
    file.write_text(program, encoding="utf-8")
    return file


def zeros(bundle: Path) -> np.ndarray:
    """The recorded outputs of a row of zeros, which is the one in the programs of a card."""
    return np.load(bundle / "sample_output.npz")["logits.zeros"][0]


@pytest.mark.parametrize("runtime", ["onnxruntime", "libtorch"])
def test_a_documented_program_has_at_most_sixty_lines(runtime: str) -> None:
    lines = (DOCS / "cpp" / f"{runtime}.cpp").read_text(encoding="utf-8").splitlines()
    assert len(lines) <= MOST_LINES[runtime]


@pytest.mark.slow
def test_the_program_for_onnxruntime_computes_the_recorded_outputs(bundles: dict[str, Path], tmp_path: Path) -> None:
    program = compile_as_documented(DOCS / "cpp" / "onnxruntime.cpp", tmp_path, require_onnxruntime())
    for bundle in bundles.values():
        rows, wanted, tolerance = raw_rows(bundle, tmp_path)
        assert np.abs(printed(program, bundle / "model.onnx", rows) - wanted).max() <= tolerance
    rows.write_bytes(rows.read_bytes()[:-1])
    cut = subprocess.run([program, bundle / "model.onnx", rows], capture_output=True, text=True)
    assert (cut.returncode, cut.stderr) == (2, "a row has 64 bytes\n")
    missing = subprocess.run([program, tmp_path / "none.onnx", rows], capture_output=True, text=True)
    assert missing.returncode == 1
    assert "none.onnx" in missing.stderr


@pytest.mark.slow
def test_the_program_of_a_card_for_onnxruntime_computes_the_recorded_outputs(
    bundles: dict[str, Path], tmp_path: Path
) -> None:
    environment = require_onnxruntime()
    for bundle in bundles.values():
        source = card_program(bundle, "onnxruntime_cxx_api.h", tmp_path)
        program = compile_as_documented(source, tmp_path, environment)
        assert np.allclose(printed(program, folder=bundle)[:, 0], zeros(bundle), atol=1e-4)


@pytest.mark.slow
def test_the_program_of_a_card_for_several_inputs_computes_all_outputs(named: Path, tmp_path: Path) -> None:
    environment = require_onnxruntime()
    program = compile_as_documented(card_program(named, "onnxruntime_cxx_api.h", tmp_path), tmp_path, environment)
    assert np.allclose(printed(program, folder=named)[:, 0], np.concatenate(answers_to_zeros(named)), atol=1e-4)


@pytest.mark.full
def test_the_program_of_a_card_for_several_inputs_computes_all_outputs_with_libtorch(
    named: Path, tmp_path: Path
) -> None:
    require_compiler()
    program = compile_as_documented(card_program(named, "torch/script.h", tmp_path), tmp_path, {**os.environ})
    said = subprocess.run([program], cwd=named, capture_output=True, text=True, check=True).stdout
    numbers = [float(word) for word in re.findall(r"-?\d+\.\d+(?:e[-+]\d+)?", said)]
    assert np.allclose(numbers, np.concatenate(answers_to_zeros(named)), atol=1e-4), said


@pytest.mark.full
def test_the_program_for_libtorch_computes_the_recorded_outputs(bundles: dict[str, Path], tmp_path: Path) -> None:
    require_compiler()
    program = compile_as_documented(DOCS / "cpp" / "libtorch.cpp", tmp_path, {**os.environ})
    for bundle in bundles.values():
        taken = read_manifest(bundle)["input"]
        rows, wanted, tolerance = raw_rows(bundle, tmp_path)
        shape = [str(size) for size in taken["shape"][1:]]
        assert np.abs(printed(program, bundle / "model.ts", rows, taken["dtype"], *shape) - wanted).max() <= tolerance


@pytest.mark.full
def test_the_program_of_a_card_for_libtorch_computes_the_recorded_outputs(
    bundles: dict[str, Path], tmp_path: Path
) -> None:
    require_compiler()
    bundle = bundles["images"]
    source = card_program(bundle, "torch/script.h", tmp_path)
    program = compile_as_documented(source, tmp_path, {**os.environ})
    said = subprocess.run([program], cwd=bundle, capture_output=True, text=True, check=True).stdout
    # torch prints a factor that all numbers share as `0.01 *` above them.
    factor, _, numbers = said.rpartition("*")
    found = [float(factor or 1) * float(word) for word in re.findall(r"-?\d+\.\d+(?:e[-+]\d+)?", numbers)]
    assert np.allclose(found, zeros(bundle), atol=1e-4)
