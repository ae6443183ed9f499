"""`manifest.json` of a bundle with several inputs or outputs."""

from __future__ import annotations

from typing import Any

from regplug.bundles.layout import NAMED_VERSION
from regplug.bundles.manifest import baked_in, complete, format_facts, versions
from regplug.bundles.named.request import NamedRequest
from regplug.bundles.named.schema import named_fault
from regplug.bundles.named.signature import BATCH, Signature
from regplug.training.state_hash import state_sha256


def named_manifest(request: NamedRequest, signature: Signature) -> dict[str, Any]:
    """Builds the manifest.

    Raises:
        RequestError: The caller's fields use a reserved key, are not JSON, or do not conform to the schema.
    """
    return complete(_own(request, signature), request.manifest, named_fault)


def _own(request: NamedRequest, signature: Signature) -> dict[str, Any]:
    return {
        "schema_version": NAMED_VERSION,
        "task": request.task.kind if request.task else None,
        "class_names": list(request.task.class_names) if request.task else [],
        "inputs": [
            {
                "name": part.name,
                "layout": part.layout,
                "dtype": str(part.dtype),
                "shape": [BATCH, *part.shape],
                "range": None if part.range is None else list(part.range),
            }
            for part in signature.inputs
        ],
        "outputs": [
            {
                "name": part.name,
                "shape": [BATCH, *part.shape],
                "dtype": "float32",
                "checked": [list(shape) for shape in part.checked],
            }
            for part in signature.outputs
        ],
        "axes": {
            axis.name: {"least": axis.least, "most": axis.most, "checked": list(axis.checked)}
            for axis in signature.axes
        },
        "baked_in": baked_in(request.preprocess, request.calibration, request.ending),
        "stochastic": None,
        "calibration": None,
        **format_facts(request.formats),
        "state_sha256": state_sha256(request.module),
        "versions": versions(),
    }
