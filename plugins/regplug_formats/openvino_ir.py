"""OpenVINO IR: `model.xml` and its weights `model.bin`, converted from the ONNX graph, read back with OpenVINO.

openvino is imported only here, and not before a file is written or read.
"""

from __future__ import annotations

import importlib.util
import json
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from regplug.bundles.formats import Array, Captured, Format, Run
from regplug.bundles.layout import canonical_json
from regplug.bundles.report import Check, at_most, holds
from regplug.errors import MissingExtraError
from regplug_formats import OnnxParams
from regplug_formats.onnx_format import Onnx

_MANIFEST = "regplug_manifest"
_RANDOM = frozenset({"RandomUniform", "Multinomial"})
_EXACT = {"INFERENCE_PRECISION_HINT": "f32", "EXECUTION_MODE_HINT": "ACCURACY"}
"""OpenVINO otherwise computes in bfloat16 on processors that have it."""

_STANDALONE = f"""
import sys
import numpy, openvino
model, samples, name, output = sys.argv[1:]
run = openvino.Core().compile_model(model, "CPU", {_EXACT!r})
numpy.save(output, run({{name: numpy.load(samples)[name]}})[0])
"""


class OpenVino(Format):
    """Writes, opens and walks through `model.xml`.

    Raises:
        MissingExtraError: openvino is not installed.
    """

    def __init__(self, params: OnnxParams) -> None:
        if importlib.util.find_spec("openvino") is None:
            raise MissingExtraError("The format openvino", "openvino", extra="openvino")
        self._params = params

    def facts(self) -> Mapping[str, Any]:
        """The file of its weights."""
        return {"weights": "model.bin"}

    def write(self, captured: Captured, path: Path, manifest: Mapping[str, Any]) -> None:
        """Converts the ONNX graph; the weights stay in float32."""
        import openvino

        model = openvino.Core().read_model(Onnx(self._params).convert(captured).SerializeToString())
        model.set_rt_info(canonical_json(manifest), [_MANIFEST])
        openvino.save_model(model, path, compress_to_fp16=False)

    def open(self, path: Path, *, optimised: bool) -> Run:
        """Compiled for the CPU. OpenVINO cannot turn its optimiser off, so both ways are the same."""
        import openvino

        del optimised
        compiled = openvino.Core().compile_model(path, "CPU", _EXACT)

        def run(rows: Array) -> Array:
            output: Array = compiled([rows])[0]
            return output

        return run

    def manifest(self, path: Path) -> Mapping[str, Any]:
        """The manifest in the runtime information of the graph."""
        document: Mapping[str, Any] = json.loads(_read(path).get_rt_info([_MANIFEST]).astype(str))
        return document

    def inspect(self, path: Path, manifest: Mapping[str, Any]) -> Sequence[Check]:
        """Checks names and shapes, and that every operator is deterministic and OpenVINO's own."""
        model = _read(path)
        wanted = [manifest[side]["shape"] for side in ("input", "output")]
        found = [_shape(port) for port in (*model.inputs, *model.outputs)]
        names = [port.any_name for port in (*model.inputs, *model.outputs)]
        types = [operator.get_type_info() for operator in model.get_ops()]
        random = sorted({one.name for one in types} & _RANDOM)
        foreign = sorted({one.name for one in types if not one.version_id.startswith("opset")})
        return [
            holds("names", names == [manifest[side]["name"] for side in ("input", "output")], ", ".join(names)),
            holds("shapes", found == wanted, f"{found}"),
            at_most("random_nodes", len(random), 0, ", ".join(random) or f"none among {len(types)}"),
            at_most("known_operators", len(foreign), 0, ", ".join(foreign) or "all of OpenVINO's operator sets"),
        ]

    def standalone(self) -> str:
        """Openvino and numpy."""
        return _STANDALONE


def _read(path: Path) -> Any:
    import openvino

    return openvino.Core().read_model(path)


def _shape(port: Any) -> list[str | int]:
    return ["batch" if axis.is_dynamic else axis.get_length() for axis in port.partial_shape]
