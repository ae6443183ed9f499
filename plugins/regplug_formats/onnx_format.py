"""ONNX: from the captured program, stripped of paths, with the manifest inside, read back with onnxruntime."""

from __future__ import annotations

import json
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Any

import onnx
import onnxruntime

from regplug.bundles.formats import Array, Captured, Format, NamedNoiseRuns, NamedRun, NoiseRuns, Run, RunAll
from regplug.bundles.layout import canonical_json
from regplug.bundles.report import Check
from regplug_formats import OnnxParams
from regplug_formats.onnx_noise import Open, named_noise_runs, noise_runs
from regplug_formats.onnx_rounding import perturbed_model
from regplug_formats.onnx_walk import walk

IR_VERSION = 10
"""The one that belongs to opset 20 to 21; onnxruntime reads it since 1.18."""

_MANIFEST = "regplug.manifest"
_FATAL_ONLY = 4
"""What onnxruntime logs of an error, it raises too."""

_STANDALONE = """
import sys
import numpy, onnxruntime
model, samples, name, output = sys.argv[1:]
options = onnxruntime.SessionOptions()
options.add_session_config_entry("session.intra_op.allow_spinning", "0")
session = onnxruntime.InferenceSession(model, options, providers=["CPUExecutionProvider"])
arrays = numpy.load(samples)
answers = session.run(None, {given.name: arrays[given.name] for given in session.get_inputs()})
numpy.save(output, answers[0] if name else numpy.hstack([answer.reshape(len(answer), -1) for answer in answers]))
"""


class Onnx(Format):
    """Writes, opens and walks through `model.onnx`."""

    holds_noise = True
    holds_added_outputs = True
    holds_names = True

    def __init__(self, params: OnnxParams) -> None:
        self._params = params

    def facts(self) -> Mapping[str, Any]:
        """Opset and IR version."""
        return {"opset": self._params.opset, "ir_version": IR_VERSION}

    def write(self, captured: Captured, path: Path, manifest: Mapping[str, Any]) -> None:
        """Converts the captured program; the file is whole, without a second one for its weights."""
        model = self.convert(captured)
        model.ir_version = IR_VERSION
        model.metadata_props.add(key=_MANIFEST, value=canonical_json(manifest))
        path.write_bytes(model.SerializeToString(deterministic=True))

    def convert(self, captured: Captured) -> Any:
        """The captured program as an `onnx.ModelProto`, in float32."""
        # The conversion needs torch and onnxscript; reading a file needs neither.
        from regplug_formats.onnx_convert import convert

        return convert(captured, self._params.opset)

    def open(self, path: Path, *, optimised: bool) -> Run:
        """An onnxruntime session on the CPU."""
        return _run(_session(str(path), optimised))

    def open_outputs(self, path: Path, *, optimised: bool) -> RunAll:
        """The same session, with all outputs."""
        session = _session(str(path), optimised)
        name = session.get_inputs()[0].name
        return lambda rows: session.run(None, {name: rows})

    def open_noise(self, path: Path, *, optimised: bool) -> NoiseRuns:
        """The same graph with its noise off, given, and seen: changed in memory."""
        return noise_runs(onnx.load(str(path), load_external_data=False), _opener(optimised))

    def open_named_noise(self, path: Path, manifest: Mapping[str, Any], *, optimised: bool) -> NamedNoiseRuns:
        """The same, with the names of the graph."""
        del manifest
        return named_noise_runs(onnx.load(str(path), load_external_data=False), _opener(optimised))

    def open_named(
        self, path: Path, manifest: Mapping[str, Any], *, optimised: bool, seed: int | None = None
    ) -> NamedRun:
        """A session whose inputs and outputs have the names of the manifest."""
        del manifest
        if seed is None:
            session = _session(str(path), optimised)
        else:
            changed = perturbed_model(onnx.load(str(path), load_external_data=False), seed)
            session = _session(changed.SerializeToString(), optimised)
        names = [output.name for output in session.get_outputs()]
        return lambda arrays: dict(zip(names, session.run(None, dict(arrays)), strict=True))

    def open_perturbed(self, path: Path, *, seed: int) -> Run:
        """The same graph with a factor near 1 behind each operator: changed in memory."""
        model = perturbed_model(onnx.load(str(path), load_external_data=False), seed)
        return _run(_session(model.SerializeToString(), optimised=False))

    def manifest(self, path: Path) -> Mapping[str, Any]:
        """The manifest in `metadata_props`."""
        model = onnx.load(str(path), load_external_data=False)
        document: Mapping[str, Any] = json.loads({p.key: p.value for p in model.metadata_props}[_MANIFEST])
        return document

    def inspect(self, path: Path, manifest: Mapping[str, Any]) -> Sequence[Check]:
        """Walks through the graph."""
        facts = manifest["files"][path.name]
        return walk(onnx.load(str(path), load_external_data=False), manifest, facts)

    def standalone(self) -> str:
        """Onnxruntime and numpy."""
        return _STANDALONE


def _opener(optimised: bool) -> Open:
    """Opens a model from memory, some of whose values are outputs, too."""

    def open_model(model: Any, wanted: Sequence[str]) -> Callable[[Mapping[str, Array]], list[Array]]:
        outputs = [onnx.helper.make_tensor_value_info(name, onnx.TensorProto.FLOAT, None) for name in wanted]
        changed = type(model).FromString(model.SerializeToString())
        changed.graph.output.extend(outputs)
        session = _session(changed.SerializeToString(), optimised)
        return lambda given: session.run(None, dict(given))

    return open_model


def _run(session: onnxruntime.InferenceSession) -> Run:
    name = session.get_inputs()[0].name

    def run(rows: Array) -> Array:
        output: Array = session.run(None, {name: rows})[0]
        return output

    return run


def _session(model: str | bytes, optimised: bool) -> onnxruntime.InferenceSession:
    options = onnxruntime.SessionOptions()
    options.log_severity_level = _FATAL_ONLY
    # Waiting threads sleep: a busy wait between two checks takes up to half of their CPU time.
    options.add_session_config_entry("session.intra_op.allow_spinning", "0")
    levels = onnxruntime.GraphOptimizationLevel
    options.graph_optimization_level = levels.ORT_ENABLE_ALL if optimised else levels.ORT_DISABLE_ALL
    return onnxruntime.InferenceSession(model, options, providers=["CPUExecutionProvider"])
