"""The parts of a model card that describe several inputs, outputs and symbolic axes, and the programs that use them."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping, Sequence
from math import prod
from textwrap import wrap
from typing import Any

from regplug.bundles.calibration.answers import graph_outputs
from regplug.bundles.card_programs import CPP_TYPES, TORCH_TYPES, Program
from regplug.bundles.layout import onnx_file
from regplug.bundles.named.signature import Signature, Sizes
from regplug.bundles.schema import output_kind

_LIVE = " Its dropout is live: repeated outputs differ, and their spread tells how unsure it is."


def named_what(manifest: Mapping[str, Any]) -> str:
    """Returns a sentence on what the model is."""
    inputs, outputs = ([f"`{part['name']}`" for part in manifest[kind]] for kind in ("inputs", "outputs"))
    live = _LIVE if manifest["stochastic"] else ""
    return f"A model that maps {_and(inputs)} to {_and(outputs)}.{_task_words(manifest)}{live}"


def _task_words(manifest: Mapping[str, Any]) -> str:
    """Returns what the first output holds."""
    first, kind, width = manifest["outputs"][0]["name"], output_kind(manifest), manifest["outputs"][0]["shape"][-1]
    if not kind:
        return ""
    words = {
        "classification": f"It classifies: `{first}` holds the {kind} of {width} classes.",
        "multilabel": f"It labels: `{first}` holds the {kind} of {width} labels, any of which may be present.",
        "regression": f"It predicts {width} value{'s' if width > 1 else ''}, which `{first}` holds.",
    }
    return f" {words[manifest['task']]}"


def named_input_lines(manifest: Mapping[str, Any]) -> Iterator[str]:
    """Yields a table of the inputs and one of the symbolic axes."""
    yield from ("| input | type | shape | range |", "|---|---|---|---|")
    for part in manifest["inputs"]:
        limits = "" if part["range"] is None else f"{part['range'][0]:g} to {part['range'][1]:g}"
        yield f"| `{part['name']}` | {part['dtype']} | `{_shape(part)}` | {limits} |"
    yield from ("", "Raw values; the file normalises them itself. All inputs have the same number of rows, `batch`.")
    if manifest["axes"]:
        yield from ("", "| axis | sizes | checked at |", "|---|---|---|")
    for name, axis in manifest["axes"].items():
        sizes = f"{axis['least']} to {axis['most']}" if axis["most"] else f"{axis['least']} or more"
        yield f"| `{name}` | {sizes} | {', '.join(map(str, sorted(set(axis['checked']))))} |"


def named_output_lines(manifest: Mapping[str, Any]) -> Iterator[str]:
    """Yields a table of the outputs, and the order of the classes."""
    yield from ("| output | type | shape |", "|---|---|---|")
    yield from (f"| `{part['name']}` | {part['dtype']} | `{_shape(part)}` |" for part in graph_outputs(manifest))
    if manifest["class_names"]:
        shown = ", ".join(" ".join(name.split()) for name in manifest["class_names"])
        yield from ("", f"The classes of `{manifest['outputs'][0]['name']}`, in order: {shown.replace('<', '&lt;')}.")


def named_programs(manifest: Mapping[str, Any]) -> Iterator[Program]:
    """Yields the programs for a bundle's files: numpy and onnxruntime, torch, OpenVINO, ExecuTorch, C++."""
    files = {facts["format"]: name for name, facts in manifest["files"].items()}
    inputs, outputs = ([part["name"] for part in parts] for parts in (manifest["inputs"], graph_outputs(manifest)))
    onnx = onnx_file(manifest)
    if onnx:
        yield Program("Python with numpy and onnxruntime", "python", _numpy(inputs, onnx))
    opened = {"torchscript": "torch.jit.load({!r})", "pt2": "torch.export.load({!r}).module()"}
    kind = next((name for name in opened if name in files), None)
    if kind:
        yield Program("Python with torch", "python", _torch(inputs, outputs, opened[kind].format(files[kind])))
    if "openvino" in files:
        yield Program("Python with OpenVINO", "python", _openvino(inputs, files["openvino"]))
    if "pte" in files:
        yield Program("Python with ExecuTorch", "python", _executorch(inputs, outputs, files["pte"]))
    if onnx:
        yield Program("C++ with onnxruntime", "cpp", _cpp_onnxruntime(manifest, onnx))
    if "torchscript" in files and all(part["dtype"] in TORCH_TYPES for part in manifest["inputs"]):
        yield Program("C++ with libtorch", "cpp", _cpp_libtorch(manifest, files["torchscript"]))


def _numpy(inputs: Sequence[str], file: str) -> tuple[str, ...]:
    return (
        "import numpy as np",
        "import onnxruntime",
        "",
        'samples = np.load("sample_input.npz")',
        f"rows = {{name: samples[name][:5] for name in {inputs!r}}}",
        f"session = onnxruntime.InferenceSession({file!r}, providers=['CPUExecutionProvider'])",
        "names = [output.name for output in session.get_outputs()]",
        "for name, output in zip(names, session.run(names, rows)):",
        "    print(name, output.shape, output)",
    )


def _torch(inputs: Sequence[str], outputs: Sequence[str], opened: str) -> tuple[str, ...]:
    # A single output is a tensor, several are a tuple.
    answers = ", ".join(outputs)
    return (
        "import numpy as np",
        "import torch",
        "",
        'samples = np.load("sample_input.npz")',
        f"rows = [torch.from_numpy(samples[name][:5]) for name in {inputs!r}]",
        f"model = {opened}",
        "with torch.no_grad():",
        f"    {answers} = model(*rows)",
        f"print({answers})",
    )


def _openvino(inputs: Sequence[str], file: str) -> tuple[str, ...]:
    return (
        "import numpy as np",
        "import openvino",
        "",
        'samples = np.load("sample_input.npz")',
        f"rows = {{name: samples[name][:5] for name in {inputs!r}}}",
        "# Without this, some processors compute in bfloat16.",
        f"model = openvino.compile_model({file!r}, 'CPU', {{'INFERENCE_PRECISION_HINT': 'f32'}})",
        "for port, output in model(rows).items():",
        "    print(port.any_name, output.shape, output)",
    )


def _executorch(inputs: Sequence[str], outputs: Sequence[str], file: str) -> tuple[str, ...]:
    answers = ", ".join(outputs)
    return (
        "import numpy as np",
        "import torch",
        "from executorch.runtime import Runtime",
        "",
        'samples = np.load("sample_input.npz")',
        f"rows = [torch.from_numpy(samples[name][:1]) for name in {inputs!r}]",
        f"program = Runtime.get().load_program({file!r})",
        f"({answers},) = program.load_method('forward').execute(rows)",
        f"print({answers})",
    )


def _cpp_onnxruntime(manifest: Mapping[str, Any], file: str) -> tuple[str, ...]:
    inputs, sizes = manifest["inputs"], Signature.from_manifest(manifest).settings[0]
    shapes = {part["name"]: _row_shape(part, sizes) for part in inputs}
    rows = (f"static {_cpp_type(part)} {part['name']}_row[{prod(shapes[part['name']])}];" for part in inputs)
    tensors = (f"tensor({name}_row, {{{', '.join(map(str, shape))}}})" for name, shape in shapes.items())
    # What a calibration adds comes last; it need not be of floats.
    outputs = [part["name"] for part in manifest["outputs"]]
    asked = f"inputs, rows, {len(shapes)}, outputs, {len(outputs)}"
    return (
        "#include <onnxruntime_cxx_api.h>",
        "#include <iostream>",
        *wrap(" ".join(rows), 110),
        "int main() {",
        f'  Ort::Env env; Ort::Session session(env, "{file}", Ort::SessionOptions{{}});',
        "  auto memory = Ort::MemoryInfo::CreateCpu(OrtArenaAllocator, OrtMemTypeDefault);",
        "  auto tensor = [&](auto &row, std::vector<int64_t> shape) {",
        "    return Ort::Value::CreateTensor(memory, row, std::size(row), shape.data(), shape.size()); };",
        f"  Ort::Value rows[] = {{{', '.join(tensors)}}};  // one raw row of each input",
        f"  const char *inputs[] = {{{_quoted(shapes)}}}, *outputs[] = {{{_quoted(outputs)}}};",
        f"  for (auto &answer : session.Run(Ort::RunOptions{{}}, {asked}))",
        "    for (size_t at = 0; at < answer.GetTensorTypeAndShapeInfo().GetElementCount(); ++at)",
        '      std::cout << answer.GetTensorData<float>()[at] << "\\n";',
        "}",
    )


def _cpp_libtorch(manifest: Mapping[str, Any], file: str) -> tuple[str, ...]:
    sizes = Signature.from_manifest(manifest).settings[0]
    rows = (
        f"torch::zeros({{{', '.join(map(str, _row_shape(part, sizes)))}}}, torch::{TORCH_TYPES[part['dtype']]})"
        for part in manifest["inputs"]
    )
    return (
        "#include <torch/script.h>",
        "#include <iostream>",
        "int main() {",
        f'  auto model = torch::jit::load("{file}");',
        "  std::vector<torch::jit::IValue> rows = {  // one raw row of each input",
        *(f"    {row}," for row in rows),
        "  };",
        '  std::cout << model.forward(rows) << "\\n";',
        "}",
    )


def _row_shape(part: Mapping[str, Any], sizes: Sizes) -> list[int]:
    """Returns the shape of one row, with the sizes of the example."""
    return [1, *(sizes[axis] if isinstance(axis, str) else axis for axis in part["shape"][1:])]


def _cpp_type(part: Mapping[str, Any]) -> str:
    return CPP_TYPES.get(part["dtype"], f"{part['dtype']}_t")


def _quoted(names: Iterable[str]) -> str:
    return ", ".join(f'"{name}"' for name in names)


def _shape(part: Mapping[str, Any]) -> str:
    return f"({', '.join(map(str, part['shape']))})"


def _and(words: Sequence[str]) -> str:
    return words[0] if len(words) == 1 else f"{', '.join(words[:-1])} and {words[-1]}"
