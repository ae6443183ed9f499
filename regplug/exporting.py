"""From a finished run to its proven bundle."""

from __future__ import annotations

from importlib import metadata
from pathlib import Path
from typing import Any

import numpy as np
from torch import nn

from regplug.assembly import Assembly, build_network
from regplug.bundles.layout import SAMPLE_INPUT, SAMPLE_OUTPUT, read_manifest
from regplug.bundles.request import Bundle, BundleRequest
from regplug.bundles.writing import write_bundle
from regplug.registry import build
from regplug.sites import without_site_layers

SAMPLE_ROWS = 256

DEPLOYED_FILE = "model.onnx"
"""The bundle's file that MLflow keeps as a model of its own."""

_DEPLOYED_WITH = ("onnx", "onnxruntime", "numpy")


def export_run(made: Assembly, model: nn.Module, *, run_id: str, out: Path) -> Bundle:
    """Exports and proves a run's trained model.

    Args:
        made: What the run was made of.
        model: The trained model, in evaluation mode on the CPU.
        run_id: MLflow's.
        out: The folder that appears.

    Raises:
        ExportError: The model cannot be exported; nothing appears.
        VerificationError: A file does not do what the model does; nothing appears.
    """
    data, parts = made.data, made.components
    raw, inputs = data.raw, data.inputs
    has_range = inputs.low is not None and inputs.high is not None
    request = BundleRequest(
        module=model,
        preprocess=data.preprocess,
        samples=raw.test.x[:SAMPLE_ROWS],
        layout=inputs.layout,
        task=data.task,
        formats=[
            (f.registered.name, f.registered.component.filename, build(f.registered, f.spec.values))  # type: ignore[attr-defined] # found as a format
            for f in parts.formats
        ],
        value_range=(inputs.low, inputs.high) if has_range else None,  # type: ignore[arg-type] # both are there
        test=(raw.test.x, raw.test.y),
        rebuild=lambda: without_site_layers(build_network(made.config, parts, data).model),
        manifest=manifest_of(made, run_id),
    )
    return write_bundle(request, out)


def manifest_of(made: Assembly, run_id: str) -> dict[str, Any]:
    """What the run adds to a bundle's manifest."""
    registered = [chosen.registered for chosen in made.components.all()]
    return {
        "run_id": run_id,
        "config": made.config.to_dict(),
        "plugins": [
            {"kind": r.kind, "name": r.name, "distribution": r.distribution, "version": r.version} for r in registered
        ],
        "column_names": list(made.data.inputs.names),
        "dataset": {"name": made.data.raw.name, "digest": made.data.digest},
    }


def deployment_samples(bundle: Bundle) -> tuple[Any, Any]:
    """Real raw inputs and the model's answers to them, out of a bundle's sample files."""
    manifest = read_manifest(bundle.path)
    with np.load(bundle.path / SAMPLE_INPUT) as inputs, np.load(bundle.path / SAMPLE_OUTPUT) as outputs:
        return inputs[manifest["input"]["name"]], outputs[manifest["output"]["name"]]


def deployment_requirements() -> list[str]:
    """What the deployed file needs, pinned to what it was proven with."""
    return [f"{name}=={metadata.version(name)}" for name in _DEPLOYED_WITH]
