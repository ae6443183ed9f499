"""OpenVINO IR: `model.xml` and its weights `model.bin`, converted from the ONNX graph, read back with OpenVINO.

openvino is imported only here, and not before a file is written or read.
"""

from __future__ import annotations

import importlib.util
import json
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from regplug.bundles.calibration.answers import graph_outputs
from regplug.bundles.formats import Captured, Format, NamedRun, Run, RunAll, parts_of
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
arrays = numpy.load(samples)
answers = run({{given.any_name: arrays[given.any_name] for given in run.inputs}})
parts = [answers[at].reshape(len(answers[at]), -1) for at in range(len(run.outputs))]
numpy.save(output, answers[0] if name else numpy.hstack(parts))
"""


class OpenVino(Format):
    """Writes, opens and walks through `model.xml`.

    Raises:
        MissingExtraError: openvino is not installed.
    """

    holds_added_outputs = True
    holds_names = True

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
        run = self.open_outputs(path, optimised=optimised)
        return lambda rows: run(rows)[0]

    def open_outputs(self, path: Path, *, optimised: bool) -> RunAll:
        """The same, with all outputs."""
        del optimised
        compiled = _compiled(path)
        return lambda rows: list(compiled([rows]).values())

    def open_named(
        self, path: Path, manifest: Mapping[str, Any], *, optimised: bool, seed: int | None = None
    ) -> NamedRun:
        """The same, with inputs and outputs by name."""
        del manifest, optimised
        if seed is not None:
            raise NotImplementedError("the results of its operators cannot be changed")
        compiled = _compiled(path)
        names = [port.any_name for port in compiled.outputs]
        return lambda arrays: dict(zip(names, compiled(dict(arrays)).values(), strict=True))

    def manifest(self, path: Path) -> Mapping[str, Any]:
        """The manifest in the runtime information of the graph."""
        document: Mapping[str, Any] = json.loads(_read(path).get_rt_info([_MANIFEST]).astype(str))
        return document

    def inspect(self, path: Path, manifest: Mapping[str, Any]) -> Sequence[Check]:
        """Checks names and shapes, and that every operator is deterministic and OpenVINO's own."""
        model = _read(path)
        parts = [*parts_of(manifest, "input"), *graph_outputs(manifest)]
        wanted = [[None if isinstance(axis, str) else axis for axis in part["shape"]] for part in parts]
        found = [_shape(port) for port in (*model.inputs, *model.outputs)]
        names = [port.any_name for port in (*model.inputs, *model.outputs)]
        types = [operator.get_type_info() for operator in model.get_ops()]
        random = sorted({one.name for one in types} & _RANDOM)
        foreign = sorted({one.name for one in types if not one.version_id.startswith("opset")})
        return [
            holds("names", names == [part["name"] for part in parts], ", ".join(names)),
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


def _compiled(path: Path) -> Any:
    import openvino

    return openvino.Core().compile_model(path, "CPU", _EXACT)


def _shape(port: Any) -> list[int | None]:
    """The sizes of a port's axes; `None` for one that is symbolic."""
    return [None if axis.is_dynamic else axis.get_length() for axis in port.partial_shape]
