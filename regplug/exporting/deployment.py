"""The ONNX file of a bundle as a model that MLflow keeps."""

from __future__ import annotations

from importlib import metadata
from typing import Any

import numpy as np

from regplug.bundles.layout import SAMPLE_INPUT, SAMPLE_OUTPUT, read_manifest
from regplug.bundles.request import Bundle

DEPLOYED_FILE = "model.onnx"
"""The bundle's file that MLflow keeps as a model of its own."""

_DEPLOYED_WITH = ("onnx", "onnxruntime", "numpy")


def deployment_samples(bundle: Bundle) -> tuple[Any, Any]:
    """Real raw inputs and the model's answers to them, out of a bundle's sample files."""
    manifest = read_manifest(bundle.path)
    with np.load(bundle.path / SAMPLE_INPUT) as inputs, np.load(bundle.path / SAMPLE_OUTPUT) as outputs:
        return inputs[manifest["input"]["name"]], outputs[manifest["output"]["name"]]


def deployment_requirements() -> list[str]:
    """What the deployed file needs, pinned to what it was proven with."""
    return [f"{name}=={metadata.version(name)}" for name in _DEPLOYED_WITH]
