"""The ONNX file of a bundle as an MLflow model."""

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
"""The file of a bundle that becomes an MLflow model."""

_DEPLOYED_WITH = ("onnx", "onnxruntime", "numpy")


def deployment_samples(bundle: Bundle) -> tuple[Any, Any]:
    """Returns real raw inputs and the model's outputs for them, from a bundle's sample files.

    For a stochastic bundle: copies of two rows, and random outputs for them.
    """
    manifest = read_manifest(bundle.path)
    known, draws = read_samples(bundle.path, manifest)
    real = known[0]
    if draws is None:
        return real.inputs, real.outputs
    asked = asked_rows(real.inputs)
    return asked, draws.passes[:COPIES].swapaxes(0, 1).reshape(len(asked), -1)


def deployment_requirements() -> list[str]:
    """Returns the requirements of the deployed file, pinned to the versions that verified it."""
    return [f"{name}=={metadata.version(name)}" for name in _DEPLOYED_WITH]


def live_disagreement(bundle: Bundle) -> Callable[[Any], str] | None:
    """Returns the check of a stochastic bundle's model that MLflow saved, whose outputs are always new.

    Returns:
        A function from the outputs for `deployment_samples` to a description of what is wrong, or an empty string;
        `None` for a bundle that is not stochastic.
    """
    _, draws = read_samples(bundle.path, read_manifest(bundle.path))
    if draws is None:
        return None

    def disagreement(answers: Any) -> str:
        passes = as_passes(np.asarray(answers))
        checks = [rows_differ([passes]), mean_agrees(passes, draws.passes, draws.given.tolerance)]
        return "; ".join(str(check) for check in checks if not check.passed)

    return disagreement
