"""The programs in a bundle's model card, of at most fifteen lines each. They run in the bundle's folder."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from math import prod
from typing import Any

from regplug.bundles.calibration.answers import conformal_part
from regplug.bundles.layout import onnx_file

CPP_TYPES = {"uint8": "uint8_t", "float32": "float", "float64": "double", "float16": "Ort::Float16_t", "bool": "bool"}
"""dtype -> the type in C++, where it is not the name with `_t`."""

TORCH_TYPES = {
    "uint8": "kUInt8",
    "int8": "kInt8",
    "int16": "kInt16",
    "int32": "kInt32",
    "int64": "kInt64",
    "float16": "kFloat16",
    "float32": "kFloat32",
    "float64": "kFloat64",
    "bool": "kBool",
}
"""dtype -> its name in libtorch."""


@dataclass(frozen=True)
class Program:
    """A program.

    Args:
        title: Its heading.
        language: Its language.
        lines: Its lines.
    """

    title: str
    language: str
    lines: tuple[str, ...]


def programs_of(manifest: Mapping[str, Any]) -> Iterator[Program]:
    """Yields the programs for a bundle's files: numpy and onnxruntime, torch, OpenVINO, ExecuTorch, C++."""
    files = {facts["format"]: name for name, facts in manifest["files"].items()}
    onnx = onnx_file(manifest)
    if onnx:
        yield Program("Python with numpy and onnxruntime", "python", _numpy(manifest, onnx))
    if "torchscript" in files:
        yield Program("Python with torch", "python", _torch(manifest, f"torch.jit.load({files['torchscript']!r})"))
    elif "pt2" in files:
        yield Program("Python with torch", "python", _torch(manifest, f"torch.export.load({files['pt2']!r}).module()"))
    if "openvino" in files:
        yield Program("Python with OpenVINO", "python", _openvino(manifest, files["openvino"]))
    if "pte" in files:
        yield Program("Python with ExecuTorch", "python", _executorch(manifest, files["pte"]))
    if onnx:
        yield Program("C++ with onnxruntime", "cpp", _cpp_onnxruntime(manifest, onnx))
    if "torchscript" in files and manifest["input"]["dtype"] in TORCH_TYPES:
        yield Program("C++ with libtorch", "cpp", _cpp_libtorch(manifest, files["torchscript"]))


def _numpy(manifest: Mapping[str, Any], file: str) -> tuple[str, ...]:
    given, answer = manifest["input"]["name"], manifest["output"]["name"]
    names = manifest["class_names"] and manifest["task"] == "classification"
    return (
        *(("import json", "from pathlib import Path", "") if names else ()),
        "import numpy as np",
        "import onnxruntime",
        "",
        f'rows = np.load("sample_input.npz")[{given!r}][:5]',
        f"session = onnxruntime.InferenceSession({file!r}, providers=['CPUExecutionProvider'])",
        f"({answer},) = session.run([{answer!r}], {{{given!r}: rows}})",
        *(
            (
                'names = json.loads(Path("manifest.json").read_text(encoding="utf-8"))["class_names"]',
                f"print([names[place] for place in {answer}.argmax(1)])",
            )
            if names
            else (f"print({answer})",)
        ),
    )


def _torch(manifest: Mapping[str, Any], opened: str) -> tuple[str, ...]:
    given, answer, part = manifest["input"]["name"], manifest["output"]["name"], conformal_part(manifest)
    added = f", {part['output']['name']}" if part else ""
    return (
        "import numpy as np",
        "import torch",
        "",
        f'rows = torch.from_numpy(np.load("sample_input.npz")[{given!r}][:5])',
        f"model = {opened}",
        "with torch.no_grad():",
        f"    {answer}{added} = model(rows)",
        f"print({answer}{added})",
    )


def _openvino(manifest: Mapping[str, Any], file: str) -> tuple[str, ...]:
    given, answer = manifest["input"]["name"], manifest["output"]["name"]
    return (
        "import numpy as np",
        "import openvino",
        "",
        f'rows = np.load("sample_input.npz")[{given!r}][:5]',
        "# Without this, some processors compute in bfloat16.",
        f"model = openvino.compile_model({file!r}, 'CPU', {{'INFERENCE_PRECISION_HINT': 'f32'}})",
        f"{answer} = model([rows])[0]",
        f"print({answer})",
    )


def _executorch(manifest: Mapping[str, Any], file: str) -> tuple[str, ...]:
    given, answer, part = manifest["input"]["name"], manifest["output"]["name"], conformal_part(manifest)
    largest = manifest["files"][file]["largest_batch"]
    answers = f"{answer}, {part['output']['name']}" if part else answer
    return (
        "import numpy as np",
        "import torch",
        "from executorch.runtime import Runtime",
        "",
        f'rows = torch.from_numpy(np.load("sample_input.npz")[{given!r}][:{min(5, largest)}])',
        f"# At most {largest} rows in one call.",
        f"program = Runtime.get().load_program({file!r})",
        f"({answers},) = program.load_method('forward').execute([rows])",
        f"print({answers})",
    )


def _cpp_onnxruntime(manifest: Mapping[str, Any], file: str) -> tuple[str, ...]:
    given, answer, shape = manifest["input"]["name"], manifest["output"]["name"], manifest["input"]["shape"][1:]
    kind = CPP_TYPES.get(manifest["input"]["dtype"], f"{manifest['input']['dtype']}_t")
    return (
        "#include <onnxruntime_cxx_api.h>",
        "#include <iostream>",
        "int main() {",
        "  Ort::Env env;",
        f'  Ort::Session session(env, "{file}", Ort::SessionOptions{{}});',
        f"  static {kind} row[{prod(shape)}] = {{}};  // one raw row",
        f"  int64_t shape[] = {{{', '.join(map(str, (1, *shape)))}}};",
        "  auto memory = Ort::MemoryInfo::CreateCpu(OrtArenaAllocator, OrtMemTypeDefault);",
        f"  auto input = Ort::Value::CreateTensor<{kind}>(memory, row, {prod(shape)}, shape, {1 + len(shape)});",
        f'  const char *inputs[] = {{"{given}"}}, *outputs[] = {{"{answer}"}};',
        "  auto answers = session.Run(Ort::RunOptions{}, inputs, &input, 1, outputs, 1);",
        f"  for (int at = 0; at < {manifest['num_outputs']}; ++at)",
        '    std::cout << answers[0].GetTensorData<float>()[at] << "\\n";',
        "}",
    )


def _cpp_libtorch(manifest: Mapping[str, Any], file: str) -> tuple[str, ...]:
    shape = ", ".join(map(str, (1, *manifest["input"]["shape"][1:])))
    first = ".toTuple()->elements()[0].toTensor()" if conformal_part(manifest) else ".toTensor()"
    return (
        "#include <torch/script.h>",
        "#include <iostream>",
        "int main() {",
        f'  auto model = torch::jit::load("{file}");',
        f"  auto row = torch::zeros({{{shape}}}, torch::{TORCH_TYPES[manifest['input']['dtype']]});  // one raw row",
        f'  std::cout << model.forward({{row}}){first} << "\\n";',
        "}",
    )
