"""ONNX files of fewer bits: made from the float32 file's graph, with limits of their own for what is lost."""

from __future__ import annotations

import dataclasses
import sys
import tempfile
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import onnx
import onnxruntime

from regplug.bundles.cases import LARGE, NONFINITE
from regplug.bundles.formats import Captured, Loss
from regplug.bundles.report import Check, holds
from regplug.errors import ExportError
from regplug_formats import OnnxParams
from regplug_formats.onnx_convert import stripped
from regplug_formats.onnx_format import Onnx
from regplug_formats.quiet import quiet

QUANTIZED = ("MatMul", "Gemm")
"""Operators whose weights become 8 bits: quantized convolutions are slower than float32 ones on most CPUs."""

_FLOAT, _HALF, _BYTE = onnx.TensorProto.FLOAT, onnx.TensorProto.FLOAT16, onnx.TensorProto.INT8


class _SmallOnnx(Onnx):
    """An ONNX file whose weights are mostly of another type."""

    kind = _FLOAT
    loss: Loss
    holds_noise = False

    def __init__(self, params: OnnxParams) -> None:
        super().__init__(params)

    def facts(self) -> Mapping[str, Any]:
        """Opset, IR version and what may be lost."""
        return {**super().facts(), "may_lose": dataclasses.asdict(self.loss)}

    def inspect(self, path: Path, manifest: Mapping[str, Any]) -> Sequence[Check]:
        """Walks through the graph, and looks for the small weights."""
        graph = onnx.load(str(path), load_external_data=False).graph
        bits = {
            kind: sum(_size(item) for item in graph.initializer if item.data_type == kind)
            for kind in (_FLOAT, self.kind)
        }
        share = bits[self.kind] / max(1, sum(bits.values()))
        detail = f"{100 * share:.0f} % of the weights are {onnx.TensorProto.DataType.Name(self.kind).lower()}"
        return [*super().inspect(path, manifest), holds("small_weights", share > 0, detail)]


def _size(tensor: Any) -> int:
    count = 1
    for extent in tensor.dims:
        count *= extent
    return count


class OnnxFp16(_SmallOnnx):
    """Writes `model.fp16.onnx`: float32 in and out, float16 between."""

    kind = _HALF
    loss = Loss(
        relative_error=0.01,
        agreement=0.99,
        accuracy=0.005,
        mse=0.02,
        not_asked={LARGE: "inputs of 1e4 and more leave float16's range"},
    )

    def convert(self, captured: Captured) -> Any:
        """The float32 graph with weights and arithmetic in float16."""
        with _scripts_on_path(), quiet(None):  # both converters advise on the root logger; what is lost is measured
            from onnxruntime.transformers.float16 import convert_float_to_float16

            half = convert_float_to_float16(super().convert(captured), keep_io_types=True)
        _sort(half.graph)
        return stripped(half, captured)


class OnnxInt8(_SmallOnnx):
    """Writes `model.int8.onnx`: linear layers with weights of 8 bits, activations quantized as they come.

    Their range is taken over the whole batch, so a row's answer depends on the rows beside it, within the limit.
    """

    kind = _BYTE
    loss = Loss(
        relative_error=0.15,
        agreement=0.97,
        accuracy=0.02,
        mse=0.1,
        not_asked={
            LARGE: "one scale for inputs of 1e4 leaves no steps for what is small",
            NONFINITE: "one scale serves the whole batch, so NaN in one row is NaN in all",
        },
    )

    def convert(self, captured: Captured) -> Any:
        """The float32 graph with its linear layers quantized.

        Raises:
            ExportError: It has no linear layer.
        """
        whole = super().convert(captured)
        if not any(node.op_type in QUANTIZED for node in whole.graph.node):
            raise ExportError(
                "Format onnx_int8 (plugin regplug_formats) finds no linear layer to quantize in this model.",
                hint="Leave it out; `--format onnx_fp16` halves every weight.",
            )
        with tempfile.TemporaryDirectory() as place, _scripts_on_path(), quiet(None):
            # It is slow to import, and reading a file needs it not.
            from onnxruntime.quantization import QuantType, quantize_dynamic

            file = Path(place) / "model.onnx"
            quantize_dynamic(whole, file, op_types_to_quantize=list(QUANTIZED), weight_type=QuantType.QInt8)
            small = onnx.load(str(file))
        # The quantizer declares onnxruntime's own domain whether it uses it or not.
        used = {node.domain for node in small.graph.node}
        kept = [entry for entry in small.opset_import if not entry.domain or entry.domain in used]
        del small.opset_import[:]
        small.opset_import.extend(kept)
        return stripped(small, captured)


def _sort(graph: Any) -> None:
    """Puts every node behind what it reads: the converter appends its casts of the inputs at the end."""
    known = {""} | {value.name for value in (*graph.input, *graph.initializer)}
    waiting, done = list(graph.node), []
    while waiting:
        ready = [node for node in waiting if set(node.input) <= known]
        if not ready:
            raise ExportError("The float16 graph has a loop.", hint="Leave onnx_fp16 out, or report it with the model.")
        known |= {output for node in ready for output in node.output}
        waiting = [node for node in waiting if not set(node.output) <= known]
        done += [type(node).FromString(node.SerializeToString()) for node in ready]
    del graph.node[:]
    graph.node.extend(done)


@contextmanager
def _scripts_on_path() -> Iterator[None]:
    """Onnxruntime's tools import each other as scripts, from a folder that they leave on the path of imports."""
    before = list(sys.path)
    sys.path.append(str(Path(onnxruntime.__file__).parent / "transformers"))
    try:
        yield
    finally:
        sys.path[:] = before
