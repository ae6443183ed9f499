"""`regplug.export`, `regplug.verify` and `regplug.predict`."""

from __future__ import annotations

import os
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

from regplug.config.licenses import check_license
from regplug.errors import RequestError
from regplug.registry import default_registry

if TYPE_CHECKING:
    from torch import nn

    from regplug.api import TaskKind
    from regplug.bundles.predict import Predictions
    from regplug.bundles.report import Report
    from regplug.exporting import Exported
    from regplug.functions.arguments import DatasetLike, ModelLike, PathLike
    from regplug.registry import Registry


def export(
    module: str | list[str] | tuple[str, ...] | nn.Module,
    example: Any = None,
    out: PathLike | None = None,
    *,
    ensemble: bool = False,
    formats: Sequence[str] = (),
    probabilities: bool = False,
    stochastic: bool = False,
    calibrate: str | None = None,
    conformal: float | None = None,
    license_id: str = "",
    sign: PathLike | None = None,
    overwrite: bool = False,
    registry: Registry | None = None,
    register: str | None = None,
    alias: str | None = None,
    tracking_uri: str | None = None,
    accept_changed_data: bool | None = None,
    model: ModelLike | None = None,
    dataset: DatasetLike | None = None,
    class_names: Sequence[str] | None = None,
    preprocess: nn.Module | Mapping[str, nn.Module] | None = None,
    task: TaskKind | None = None,
    test: tuple[Any, Any] | None = None,
    validation: tuple[Any, Any] | None = None,
    value_range: tuple[float, float] | Mapping[str, tuple[float, float]] | None = None,
    column_names: Sequence[str] | None = None,
    outputs: Sequence[str] | str | None = None,
    dynamic: Mapping[Any, Any] | None = None,
    manifest: Mapping[str, Any] | None = None,
) -> Exported:
    """Writes a verified bundle of a tracked run's model (`regplug export`) or of your own trained module.

    Args:
        module: A trained module; or a run or a study: its id, the beginning of its id, or its name; or with `ensemble`
            a list of runs, or a study. Of a study the best setting is exported; a run of a study is trained again.
        example: For a module: a few real inputs `(N, ...)`, with the dtype that they have in deployment. Several inputs
            are given by the names of its arguments: `{"image": images, "meta": rows}`.
        out: The bundle's folder; required for a module.
        ensemble: Whether to export the models of several runs as one, which averages their class probabilities or
            values.
        formats: Formats as components; by default those of the run, or ONNX and TorchScript.
        probabilities: Whether the graph ends in a softmax (for labels, a sigmoid).
        stochastic: Whether dropout stays live in inference, so that repeated outputs differ (MC dropout).
        calibrate: `temperature` divides the logits by a number fitted on validation rows, `none` does not; by default
            as in the run's configuration.
        conformal: Promised coverage of prediction sets or intervals, fitted on validation rows; 0 for none; by default
            as in the run's configuration.
        license_id: The model's licence for its card: an SPDX expression, such as `apache-2.0`.
        sign: The secret key (minisign) with which the bundle is signed; a password is read from
            `REGPLUG_SIGN_PASSWORD` or at the terminal.
        overwrite: Whether to replace an existing bundle of another run or module at `out`.
        registry: The available components; by default all that are installed.
        register: For a run: name in MLflow's model registry; none by default.
        alias: For a run: alias of the registered version, such as `champion`.
        tracking_uri: For a run: its MLflow store.
        accept_changed_data: For a study and its runs: whether they may be trained again on data that have changed.
        model: For a run that was trained with a Python object as its model: the same object.
        dataset: For a run that was trained with a Python object as its dataset: the same object.
        class_names: For a module: one name for each class.
        preprocess: For a module: maps raw input to its input, such as a normalisation; becomes part of the graph.
        task: For a module: `classification`, `multilabel` or `regression`; by default a classification if there are
            class names or two or more outputs. With named outputs it is what the first one holds, by default nothing.
        test: For a module: raw test inputs and targets, on which the files themselves are evaluated. Several inputs are
            given by name.
        validation: For a module: raw validation inputs and targets, on which `calibrate` or `conformal` is fitted.
        value_range: For a module: smallest and largest raw value; by default 0 to 255 for uint8.
        column_names: For a module: names of the columns of rows.
        outputs: For a module that returns several tensors: their names in order, such as `("logits", "embedding")`. A
            dict or a named tuple has names; then these choose some of them.
        dynamic: For a module: other symbolic axes than the batch: `{"image": {2: "height", 3: "width"}}`,
            or with least and greatest size: `{"tokens": {1: ("length", 1, 512)}}`.
        manifest: For a module: additional fields for `manifest.json`.

    Returns:
        The bundle with its verification report. Every check has passed.

    Raises:
        RequestError: The request was wrong; nothing was started.
        ExportError: The model cannot be exported; the message names the module and a fix.
        VerificationError: A file differs from the model; no bundle is written.

    >>> bundle = regplug.export(net, images, "bundles/net", class_names=["cat", "dog"])  # doctest: +SKIP
    >>> bundle = regplug.export("3f2a", formats=["onnx"], out="bundles/mine")  # doctest: +SKIP
    >>> bundle = regplug.export(["3f2a", "9b1c"], ensemble=True)  # doctest: +SKIP
    """
    for declared in (license_id, (manifest or {}).get("license", "")):
        check_license(declared)
    both: dict[str, Any] = {"formats": formats, "probabilities": probabilities, "stochastic": stochastic}
    both |= {"overwrite": overwrite, "license_id": license_id, "sign": None if sign is None else Path(sign)}
    both |= _not_none({"calibrate": calibrate, "conformal": conformal})
    of_run = {"register": register, "alias": alias, "tracking_uri": tracking_uri, "model": model, "dataset": dataset}
    of_run["accept_changed_data"] = accept_changed_data
    of_module = {
        "class_names": class_names,
        "preprocess": preprocess,
        "task": task,
        "test": test,
        "validation": validation,
        "value_range": value_range,
        "column_names": column_names,
        "outputs": outputs,
        "dynamic": dynamic,
        "manifest": manifest,
    }
    if isinstance(module, str | list | tuple):
        _refuse("a run", {"example": example, **of_module}, "a run has its own data")
        runs = [module] if isinstance(module, str) else list(module)
        return _export_runs(runs, out, both | _not_none(of_run), registry, is_ensemble=ensemble)
    _refuse("a module", {**of_run, "ensemble": ensemble or None}, "a module of yours is no tracked run")
    if out is None or example is None:
        raise RequestError("A module needs an example and a folder.", hint="regplug.export(module, example, out)")
    from regplug.exporting import export_module, export_named, is_named_request

    asked: dict[str, Any] = _not_none(of_module) | both
    if not formats:
        del asked["formats"]
    if is_named_request(example, outputs, dynamic):
        return export_named(module, example, Path(out), registry=registry, **asked)
    return export_module(module, example, Path(out), registry=registry, **asked)


def _export_runs(
    runs: list[str], out: PathLike | None, asked: dict[str, Any], registry: Registry | None, *, is_ensemble: bool
) -> Exported:
    from regplug.runs.caller_objects import take_over
    from regplug.runs.request import check_exported_runs
    from regplug.studies.delivery.exporting import export_named

    register = asked.get("register") or asked.get("alias") or ""
    is_calibrated = asked.get("calibrate") not in (None, "none") or bool(asked.get("conformal"))
    check_exported_runs(runs, is_ensemble=is_ensemble, register=register, is_calibrated=is_calibrated)
    objects: dict[str, Any] = {name: asked.pop(name) for name in ("model", "dataset") if name in asked}
    _, known = take_over(objects, registry or default_registry())
    asked |= {"out": None if out is None else Path(out), "registry": known}
    return export_named(runs, is_ensemble=is_ensemble, **asked)


def _not_none(values: Mapping[str, Any]) -> dict[str, Any]:
    return {name: value for name, value in values.items() if value is not None}


def _refuse(what: str, values: Mapping[str, Any], why: str) -> None:
    given = list(_not_none(values))
    if given:
        raise RequestError(
            f"{what.capitalize()} is exported, but {', '.join(given)} {'was' if len(given) == 1 else 'were'} given.",
            hint=f"Leave it out: {why}." if len(given) == 1 else f"Leave them out: {why}.",
        )


def verify(
    bundle: PathLike, *, run: str = "", digest: str = "", key: str = "", tracking_uri: str | None = None
) -> Report:
    """Verifies a bundle from its files alone: `regplug verify`.

    Files alone prove that the bundle is consistent. A run, a digest or a key also proves where it comes from.

    Args:
        bundle: The bundle's folder.
        run: The run that it was exported from: its id, the beginning of its id, or its name.
        digest: The SHA-256 of its `SHA256SUMS`.
        key: The public key (minisign) of whoever signed it, or the path of the key's file.
        tracking_uri: The run's MLflow store.

    Raises:
        BundleError: The path is not a bundle.
        RequestError: There is no such run, or digest or key are not valid.
    """
    from regplug.bundles.layout import require_bundle
    from regplug.bundles.verifying import verify_bundle

    require_bundle(Path(bundle))
    if not (run or digest or key):
        return verify_bundle(Path(bundle))
    from regplug.exporting import find_origin

    origin = find_origin(run=run, digest=digest, key=key, tracking_uri=tracking_uri)
    return verify_bundle(Path(bundle), origin=origin)


def predict(
    bundle: PathLike,
    inputs: PathLike | Sequence[PathLike],
    *,
    top: int = 3,
    passes: int | None = None,
    format: str | None = None,  # noqa: A002 - the name of the command line's option
) -> Predictions:
    """Predicts with onnxruntime and numpy: `regplug predict`. Then it does not import torch.

    Args:
        bundle: The bundle's folder.
        inputs: Files with raw inputs: .npy, .npz, .csv or images.
        top: Number of most probable classes to return for each row.
        passes: Number of random passes over which a stochastic bundle averages; 20 by default.
        format: Format of the file that predicts, in its own runtime; by default the ONNX file does.

    Raises:
        BundleError: The path is not a bundle, has no such file, or an input does not fit it.
        VerificationError: The model file was changed.
    """
    from regplug.bundles.predict import predict as predict_files

    paths = [inputs] if isinstance(inputs, str | os.PathLike) else list(inputs)
    return predict_files(Path(bundle), [Path(path) for path in paths], top, passes, format)
