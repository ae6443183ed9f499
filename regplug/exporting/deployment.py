"""The ONNX file of a bundle as a model that MLflow keeps."""

from __future__ import annotations

from collections.abc import Callable
from importlib import metadata
from typing import Any

import numpy as np

from regplug.bundles.layout import read_manifest
from regplug.bundles.request import Bundle
from regplug.bundles.samples import read_samples
from regplug.bundles.stochastic.checks import mean_agrees, rows_differ
from regplug.bundles.stochastic.record import COPIES, as_passes, asked_rows

DEPLOYED_FILE = "model.onnx"
"""The bundle's file that MLflow keeps as a model of its own."""

_DEPLOYED_WITH = ("onnx", "onnxruntime", "numpy")


def deployment_samples(bundle: Bundle) -> tuple[Any, Any]:
    """Real raw inputs and the model's answers to them, out of a bundle's sample files.

    Of a stochastic bundle: copies of two rows, and live answers to them.
    """
    manifest = read_manifest(bundle.path)
    known, draws = read_samples(bundle.path, manifest)
    real = known[0]
    if draws is None:
        return real.inputs, real.outputs
    asked = asked_rows(real.inputs)
    return asked, draws.passes[:COPIES].swapaxes(0, 1).reshape(len(asked), -1)


def deployment_requirements() -> list[str]:
    """What the deployed file needs, pinned to what it was proven with."""
    return [f"{name}=={metadata.version(name)}" for name in _DEPLOYED_WITH]


def live_disagreement(bundle: Bundle) -> Callable[[Any], str] | None:
    """What is asked of a model that MLflow saved of a stochastic bundle, whose answers are never the proven ones.

    Returns:
        From the answers to `deployment_samples` to what is wrong with them, empty for nothing; `None` for a bundle
        whose answers do not differ.
    """
    _, draws = read_samples(bundle.path, read_manifest(bundle.path))
    if draws is None:
        return None

    def disagreement(answers: Any) -> str:
        passes = as_passes(np.asarray(answers))
        checks = [rows_differ([passes]), mean_agrees(passes, draws.passes, draws.given.tolerance)]
        return "; ".join(str(check) for check in checks if not check.passed)

    return disagreement
