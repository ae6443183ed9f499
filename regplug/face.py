"""The command line's words from Python."""

from __future__ import annotations

import os
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

from regplug.config import load_config
from regplug.registry import Registry, default_registry

if TYPE_CHECKING:
    from regplug.bundles.predict import Predictions
    from regplug.bundles.report import Report
    from regplug.results import Observer, RunResult

PathLike = str | os.PathLike[str]


def run(
    *,
    config: PathLike | None = None,
    overrides: Sequence[str] = (),
    observers: Sequence[Observer] = (),
    tracking_uri: str | None = None,
    registry: Registry | None = None,
    **fields: Any,
) -> RunResult:
    """Trains, tracks, exports and verifies one run: `regplug run` from Python.

    Args:
        config: A TOML or YAML file.
        overrides: What `--set` takes, such as `"model.hidden=[64]"`.
        observers: Who is told how it goes.
        tracking_uri: An MLflow store; by default `MLFLOW_TRACKING_URI`, else `mlruns/mlflow.db` here.
        registry: What is installed; by default all of it.
        fields: Fields of `regplug.config.RunConfig`, as the flags: `model`, `reg`, `epochs` and so on. `model` may be a
            `torch.nn.Module` (trained as a copy) or a function that makes one; `dataset` may be `(x, y)` arrays or a
            `regplug.data.RawData`; and a component may be a descriptor of `regplug.api`.

    Returns:
        The result: the trained model in evaluation mode, metrics, run id and bundle.

    Raises:
        RequestError: The request was wrong; nothing was started.
        FailedError: The run was tracked and ended FAILED.

    >>> result = run(model="mlp", reg=["dropout:drop_probability=0.2"], epochs=5)  # doctest: +SKIP
    """
    from regplug.given import take_over
    from regplug.runner import execute

    flags, known = take_over(fields, registry or default_registry())
    loaded = load_config(None if config is None else Path(config), overrides, flags)
    return execute(loaded, registry=known, observers=observers, tracking_uri=tracking_uri)


def verify(bundle: PathLike) -> Report:
    """Proves a bundle again from its files alone: `regplug verify`.

    Raises:
        BundleError: The path is no bundle.
    """
    from regplug.bundles.verifying import verify_bundle

    return verify_bundle(Path(bundle))


def predict(bundle: PathLike, inputs: PathLike | Sequence[PathLike], *, top: int = 3) -> Predictions:
    """Infers with onnxruntime and numpy alone: `regplug predict`. torch is not imported.

    Args:
        bundle: The bundle's folder.
        inputs: Files with raw inputs: .npy, .npz, .csv or images.
        top: How many classes to tell for each row.

    Raises:
        BundleError: The path is no bundle, or an input does not fit it.
        VerificationError: The model file was changed.
    """
    from regplug.bundles.predict import predict as predict_files

    paths = [inputs] if isinstance(inputs, str | os.PathLike) else list(inputs)
    return predict_files(Path(bundle), [Path(path) for path in paths], top)
