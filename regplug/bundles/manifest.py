"""`manifest.json`, which describes a bundle. The model files contain the same text."""

from __future__ import annotations

import platform
from collections.abc import Callable, Iterable, Mapping, Sequence
from importlib import metadata
from typing import Any

from torch import nn

from regplug.bundles.calibration.request import Calibration
from regplug.bundles.formats import Format
from regplug.bundles.isolate import Ending
from regplug.bundles.layout import SCHEMA_VERSION, canonical_json
from regplug.bundles.reading import parse_json
from regplug.bundles.request import BundleRequest
from regplug.bundles.schema import manifest_fault
from regplug.errors import RequestError
from regplug.training.state_hash import state_sha256

_DISTRIBUTIONS = ("regplug", "torch", "onnx", "onnxruntime", "numpy")


def build_manifest(request: BundleRequest) -> dict[str, Any]:
    """Builds the manifest.

    Raises:
        RequestError: The caller's fields use a reserved key, are not JSON, or do not conform to the schema.
    """
    return complete(_own(request), request.manifest, manifest_fault)


def complete(own: Mapping[str, Any], fields: Mapping[str, Any], fault_of: Callable[[Any], str]) -> dict[str, Any]:
    """Adds the caller's fields to a manifest.

    Args:
        own: Keys that the bundle writes.
        fields: The caller's.
        fault_of: Returns how a document contradicts its schema.

    Raises:
        RequestError: The caller's fields use a reserved key, are not JSON, or do not conform to the schema.
    """
    taken = sorted(set(own) & set(fields))
    if taken:
        raise RequestError(f"These keys of the manifest are reserved: {', '.join(taken)}.", hint="Use other names.")
    document = {**fields, **own}
    try:
        fault = fault_of(parse_json(canonical_json(document).encode()))
    except (TypeError, ValueError, RecursionError) as error:
        raise RequestError(
            f"The manifest is not JSON: {error}.", hint="Use only text, numbers, lists and mappings."
        ) from error
    if fault:
        raise RequestError(f"The manifest would contradict its schema: {fault}.", hint="docs/bundle.md lists its keys.")
    return document


def _own(request: BundleRequest) -> dict[str, Any]:
    return {
        "schema_version": SCHEMA_VERSION,
        "task": request.task.kind,
        "num_outputs": request.task.num_outputs,
        "class_names": list(request.task.class_names),
        "input": _input(request),
        "output": {"name": request.output_name, "shape": ["batch", request.task.num_outputs], "dtype": "float32"},
        "baked_in": baked_in([request.preprocess], request.calibration, request.ending),
        "stochastic": None,
        "calibration": None,
        **format_facts(request.formats),
        "state_sha256": state_sha256(request.module),
        "versions": versions(),
    }


def _input(request: BundleRequest) -> Mapping[str, Any]:
    return {
        "name": request.input_name,
        "layout": request.layout,
        "dtype": str(request.samples.dtype),
        "shape": ["batch", *request.samples.shape[1:]],
        "range": None if request.value_range is None else list(request.value_range),
    }


def baked_in(preprocess: Iterable[nn.Module], calibration: Calibration | None, ending: Ending) -> list[str]:
    """Returns what the graph contains besides the network: the class of each preprocessing, calibration, ending."""
    steps = [f"{type(one).__module__}.{type(one).__qualname__}" for one in preprocess]
    steps += [calibration.kind] if calibration else []
    return [*steps, ending] if ending else steps


def format_facts(formats: Sequence[tuple[str, str, Format]]) -> dict[str, Any]:
    """Returns the facts of each file; opset and IR version of the first that has them are also at the top level."""
    facts = [form.facts() for _, _, form in formats]
    return {
        "files": {filename: {"format": name, **form.facts()} for name, filename, form in formats},
        **{key: next((fact[key] for fact in facts if key in fact), None) for key in ("opset", "ir_version")},
    }


def versions() -> dict[str, str]:
    """Returns the versions of Python and of the libraries that write a bundle."""
    return {"python": platform.python_version(), **{name: _version(name) for name in _DISTRIBUTIONS}}


def _version(distribution: str) -> str:
    try:
        return metadata.version(distribution)
    except metadata.PackageNotFoundError:
        return ""
