"""The commands as Python functions."""

from __future__ import annotations

import os
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

from regplug.config import load_config
from regplug.errors import RequestError
from regplug.registry import Registry, default_registry

if TYPE_CHECKING:
    from torch import nn

    from regplug.bundles.predict import Predictions
    from regplug.bundles.report import Report
    from regplug.exporting import Exported
    from regplug.runs.results import Observer, RunResult
    from regplug.studies.compared import Compared
    from regplug.studies.engine import Study
    from regplug.studies.results import StudyObserver, StudyResult

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
        overrides: Values as for `--set`, such as `"model.hidden=[64]"`.
        observers: Receive the events of the run.
        tracking_uri: An MLflow store; by default `MLFLOW_TRACKING_URI`, else `mlruns/mlflow.db` in the current folder.
        registry: The available components; by default all that are installed.
        fields: Fields of `regplug.config.RunConfig`, like the flags: `model`, `reg`, `epochs` and so on. `model` may be
            a `torch.nn.Module` (a copy is trained) or a function that returns one; `dataset` may be `(x, y)` arrays or
            a `regplug.data.RawData`; and a component may be a descriptor of `regplug.api`.

    Returns:
        The result: the trained model in evaluation mode, metrics, run id and bundle.

    Raises:
        RequestError: The request was wrong; nothing was started.
        FailedError: The run was tracked and ended FAILED.

    >>> result = run(model="mlp", reg=["dropout:drop_probability=0.2"], epochs=5)  # doctest: +SKIP
    """
    from regplug.runs.caller_objects import take_over

    flags, known = take_over(fields, registry or default_registry())
    loaded = load_config(None if config is None else Path(config), overrides, flags)
    from regplug.runs.request import check_request
    from regplug.runs.runner import execute

    request = check_request(loaded, known, tracking_uri=tracking_uri)
    return execute(request, observers=observers, tracking_uri=tracking_uri)


def sweep(
    *,
    config: PathLike | None = None,
    overrides: Sequence[str] = (),
    observers: Sequence[StudyObserver] = (),
    tracking_uri: str | None = None,
    registry: Registry | None = None,
    **fields: Any,
) -> StudyResult:
    """Runs a grid of settings with several seeds, in stacks where possible: `regplug sweep` from Python.

    The same call continues a killed study and does not repeat its finished runs.

    Args:
        config: A TOML or YAML study file.
        overrides: Values as for `--set`, for every run.
        observers: Receive the events of the study.
        tracking_uri: As for `run`.
        registry: As for `run`.
        fields: Fields of the study (`grid`, `zip`, `seeds`, `data_seeds`, `pair_seeds`, `metric`, `baseline`,
            `all_pairs` and so on) and, as for `run`, of its runs.

    Returns:
        The result: runs, analysis, best setting. Failed runs are in `failed` and do not stop the study.

    Raises:
        RequestError: The request was wrong; nothing was started.

    >>> result = sweep(grid=["reg.l2.strength=0,0.01,0.1"], seeds=8, epochs=5)  # doctest: +SKIP
    """
    study = _study("sweep", config, overrides, registry, fields)
    return study.run(observers, tracking_uri)


def cross_validate(
    *,
    config: PathLike | None = None,
    overrides: Sequence[str] = (),
    observers: Sequence[StudyObserver] = (),
    tracking_uri: str | None = None,
    registry: Registry | None = None,
    refit: bool = True,
    **fields: Any,
) -> StudyResult:
    """Cross-validates settings on the same folds, then trains and exports the best one: `regplug cv` from Python.

    Args:
        config: As for `sweep`.
        overrides: As for `sweep`.
        observers: As for `sweep`.
        tracking_uri: As for `run`.
        registry: As for `run`.
        refit: Whether the best setting is trained again on the dataset's own splits; `winner` of the result.
        fields: As for `sweep`, and `folds` (default 5), `repeats`, `group`.

    Raises:
        RequestError: The request was wrong; nothing was started.
        FailedError: The best setting could not be trained again or exported; the study's runs are kept.

    >>> result = cross_validate(grid=["reg=none,dropout,l2"], folds=5, epochs=5)  # doctest: +SKIP
    """
    study = _study("cv", config, overrides, registry, fields)
    return study.run(observers, tracking_uri, refit=refit)


def compare(
    *names: str,
    by: str | Sequence[str] = (),
    metric: str = "",
    baseline: str | None = None,
    all_pairs: bool = False,
    minimize: bool | None = None,
    tracking_uri: str | None = None,
    out: PathLike | None = None,
) -> Compared:
    """Ranks the settings of studies or experiments: `regplug compare` from Python.

    Args:
        names: Experiments by name; studies by id or name.
        by: Parameters that define the settings: `reg`, `lr`, `model.hidden`; by default all that differ.
        metric: The metric to compare; by default the metric of the study, else test accuracy or loss.
        baseline: The setting with which the others are compared; by default the reference of the study, else the
            setting without regularizers.
        all_pairs: Whether every setting is compared with every other.
        minimize: Whether lower values of the metric are better; by default its name decides.
        tracking_uri: As for `run`.
        out: File for the HTML report; by default none is written.

    Raises:
        RequestError: Nothing with these names is tracked, or the runs cannot be compared.
    """
    from regplug.studies.comparing import compare_tracked

    fields = [by] if isinstance(by, str) else list(by)
    found = compare_tracked(
        names,
        by=fields,
        metric=metric,
        baseline=baseline,
        all_pairs=all_pairs,
        minimize=minimize,
        tracking_uri=tracking_uri,
    )
    if out is not None:
        found.write(Path(out))
    return found


def _study(
    kind: str, config: PathLike | None, overrides: Sequence[str], registry: Registry | None, fields: Mapping[str, Any]
) -> Study:
    from regplug.runs.caller_objects import take_over
    from regplug.studies.config import load_study
    from regplug.studies.engine import Study

    flags, known = take_over(fields, registry or default_registry())
    asked = load_study(None if config is None else Path(config), overrides, flags, kind=kind)
    return Study(asked, kind=kind, registry=known)


def export(
    module: str | list[str] | tuple[str, ...] | nn.Module,
    example: Any = None,
    out: PathLike | None = None,
    *,
    ensemble: bool = False,
    formats: Sequence[str] = (),
    probabilities: bool = False,
    stochastic: bool = False,
    overwrite: bool = False,
    registry: Registry | None = None,
    **more: Any,
) -> Exported:
    """Writes a verified bundle of a tracked run's model (`regplug export`) or of your own trained module.

    Args:
        module: A trained module; or a run: its id, the beginning of its id, or its name; or with `ensemble` a list of
            runs.
        example: For a module: a few real inputs `(N, ...)`, with the dtype that they have in deployment.
        out: The bundle's folder; required for a module.
        ensemble: Whether to export the models of several runs as one, which averages their class probabilities or
            values.
        formats: Formats as components; by default those of the run, or ONNX and TorchScript.
        probabilities: Whether the graph ends in a softmax.
        stochastic: Whether dropout stays live in inference, so that repeated outputs differ (MC dropout).
        overwrite: Whether to replace an existing bundle of another run or module at `out`.
        registry: The available components; by default all that are installed.
        more: For a run: `register`, `alias` and `tracking_uri`, and `model` or `dataset` if the run was trained with
            Python objects. For a module: `class_names`, `preprocess`, `task`, `test`, `value_range`, `column_names` and
            `manifest`; see `regplug.exporting.export_module`.

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
    from regplug.exporting import export_ensemble, export_module, export_tracked
    from regplug.runs.caller_objects import take_over
    from regplug.runs.request import check_exported_runs

    if isinstance(module, str | list | tuple):
        if example is not None:
            raise RequestError(
                "A run was named and an example given.", hint="Leave out the example: a run has its own data."
            )
        runs = [module] if isinstance(module, str) else list(module)
        check_exported_runs(runs, is_ensemble=ensemble, register=more.get("register") or more.get("alias") or "")
        objects: dict[str, Any] = {name: more.pop(name) for name in ("model", "dataset") if name in more}
        _, known = take_over(objects, registry or default_registry())
        more |= {"out": None if out is None else Path(out), "formats": formats, "registry": known}
        more |= {"probabilities": probabilities, "stochastic": stochastic, "overwrite": overwrite}
        return export_ensemble(runs, **more) if ensemble else export_tracked(runs[0], **more)
    if ensemble:
        raise RequestError(
            "An ensemble is made of tracked runs, but a module was passed.",
            hint='regplug.export([run, other_run], ensemble=True), or leave out "ensemble".',
        )
    if out is None or example is None:
        raise RequestError("A module needs an example and a folder.", hint="regplug.export(module, example, out)")
    asked: dict[str, Any] = {**more, "overwrite": overwrite, **({"formats": formats} if formats else {})}
    return export_module(
        module, example, Path(out), probabilities=probabilities, stochastic=stochastic, registry=registry, **asked
    )


def verify(bundle: PathLike) -> Report:
    """Verifies a bundle from its files alone: `regplug verify`.

    Raises:
        BundleError: The path is not a bundle.
    """
    from regplug.bundles.verifying import verify_bundle

    return verify_bundle(Path(bundle))


def predict(
    bundle: PathLike, inputs: PathLike | Sequence[PathLike], *, top: int = 3, passes: int | None = None
) -> Predictions:
    """Predicts with onnxruntime and numpy: `regplug predict`. Does not import torch.

    Args:
        bundle: The bundle's folder.
        inputs: Files with raw inputs: .npy, .npz, .csv or images.
        top: Number of most probable classes to return for each row.
        passes: Number of random passes over which a stochastic bundle averages; 20 by default.

    Raises:
        BundleError: The path is not a bundle, or an input does not fit it.
        VerificationError: The model file was changed.
    """
    from regplug.bundles.predict import predict as predict_files

    paths = [inputs] if isinstance(inputs, str | os.PathLike) else list(inputs)
    return predict_files(Path(bundle), [Path(path) for path in paths], top, passes)
