"""The command line's words from Python."""

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
    from regplug.runs.caller_objects import take_over

    flags, known = take_over(fields, registry or default_registry())
    loaded = load_config(None if config is None else Path(config), overrides, flags)
    from regplug.runs.runner import execute

    return execute(loaded, registry=known, observers=observers, tracking_uri=tracking_uri)


def sweep(
    *,
    config: PathLike | None = None,
    overrides: Sequence[str] = (),
    observers: Sequence[StudyObserver] = (),
    tracking_uri: str | None = None,
    registry: Registry | None = None,
    **fields: Any,
) -> StudyResult:
    """Runs a grid of settings with several seeds, stacked where it can be: `regplug sweep` from Python.

    The same call continues a study that was killed, and never repeats its finished runs.

    Args:
        config: A TOML or YAML study file.
        overrides: What `--set` takes, for every run.
        observers: Who is told how it goes.
        tracking_uri: As for `run`.
        registry: As for `run`.
        fields: Fields of the study (`grid`, `zip`, `seeds`, `data_seeds`, `pair_seeds`, `metric`) and, as for `run`, of
            its runs.

    Returns:
        The result: runs, analysis, best setting. A run that failed is in `failed`, and stops nothing.

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
    """Cross-validates settings on the same folds, then trains and exports the best: `regplug cv` from Python.

    Args:
        config: As for `sweep`.
        overrides: As for `sweep`.
        observers: As for `sweep`.
        tracking_uri: As for `run`.
        registry: As for `run`.
        refit: Whether the best is trained again on the run's own splits; `winner` of the result.
        fields: As for `sweep`, and `folds` (5 unless told otherwise), `repeats`, `group`.

    Raises:
        RequestError: The request was wrong; nothing was started.
        FailedError: The best could not be trained again or exported; the study's runs are kept.

    >>> result = cross_validate(grid=["reg=none,dropout,l2"], folds=5, epochs=5)  # doctest: +SKIP
    """
    study = _study("cv", config, overrides, registry, fields)
    return study.run(observers, tracking_uri, refit=refit)


def compare(
    *names: str,
    by: str | Sequence[str] = (),
    metric: str = "",
    baseline: str | None = None,
    tracking_uri: str | None = None,
    out: PathLike | None = None,
) -> Compared:
    """Ranks the settings of studies or experiments: `regplug compare` from Python.

    Args:
        names: Experiments by name; studies by id or name.
        by: Parameters that make the settings: `reg`, `lr`, `model.hidden`; by default everything that differs.
        metric: What to compare; by default what a study compared, else test accuracy or loss.
        baseline: The setting that the others are compared with.
        tracking_uri: As for `run`.
        out: Where the HTML report is written; nowhere by default.

    Raises:
        RequestError: Nothing of these names is tracked, or the runs cannot be compared.
    """
    from regplug.studies.comparing import compare_tracked

    fields = [by] if isinstance(by, str) else list(by)
    found = compare_tracked(names, by=fields, metric=metric, baseline=baseline, tracking_uri=tracking_uri)
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
    module: str | nn.Module,
    example: Any = None,
    out: PathLike | None = None,
    *,
    formats: Sequence[str] = (),
    probabilities: bool = False,
    stochastic: bool = False,
    overwrite: bool = False,
    registry: Registry | None = None,
    **more: Any,
) -> Exported:
    """Makes a proven bundle of a tracked run's model, `regplug export`, or of a trained module of your own.

    Args:
        module: A trained module; or a run: its id, the beginning of it, or its name.
        example: For a module: a few real inputs `(N, ...)`, in the type in which a deployer has them.
        out: The folder that appears; needed for a module.
        formats: Formats as components; by default those of the run, or ONNX and TorchScript.
        probabilities: Whether the graph ends in a softmax.
        stochastic: Whether the dropout stays live in inference, so that repeated answers differ (MC dropout).
        overwrite: Whether the bundle of another run or module that lies at `out` is replaced.
        registry: What is installed; by default all of it.
        more: For a run: `register`, `alias` and `tracking_uri`, and `model` or `dataset` where the run was made with
            objects. For a module: `class_names`, `preprocess`, `task`, `test`, `value_range`, `column_names` and
            `manifest`; see `regplug.exporting.export_module`.

    Returns:
        The bundle with its verification report, in which every check has passed.

    Raises:
        RequestError: The request was wrong; nothing was started.
        ExportError: The model cannot be exported; names module and fix.
        VerificationError: A file does not do what the model does; nothing appears.

    >>> bundle = regplug.export(net, images, "bundles/net", class_names=["cat", "dog"])  # doctest: +SKIP
    >>> bundle = regplug.export("3f2a", formats=["onnx"], out="bundles/mine")  # doctest: +SKIP
    """
    from regplug.exporting import export_module, export_tracked
    from regplug.runs.caller_objects import take_over

    if isinstance(module, str):
        if example is not None:
            raise RequestError("A run was named and an example given.", hint="A run has its own data: leave it out.")
        objects: dict[str, Any] = {name: more.pop(name) for name in ("model", "dataset") if name in more}
        _, known = take_over(objects, registry or default_registry())
        place = None if out is None else Path(out)
        return export_tracked(
            module,
            formats=formats,
            out=place,
            probabilities=probabilities,
            stochastic=stochastic,
            overwrite=overwrite,
            registry=known,
            **more,
        )
    if out is None or example is None:
        raise RequestError("A module needs an example and a folder.", hint="regplug.export(module, example, out)")
    asked: dict[str, Any] = {**more, "overwrite": overwrite, **({"formats": formats} if formats else {})}
    return export_module(
        module, example, Path(out), probabilities=probabilities, stochastic=stochastic, registry=registry, **asked
    )


def verify(bundle: PathLike) -> Report:
    """Proves a bundle again from its files alone: `regplug verify`.

    Raises:
        BundleError: The path is no bundle.
    """
    from regplug.bundles.verifying import verify_bundle

    return verify_bundle(Path(bundle))


def predict(
    bundle: PathLike, inputs: PathLike | Sequence[PathLike], *, top: int = 3, passes: int | None = None
) -> Predictions:
    """Infers with onnxruntime and numpy alone: `regplug predict`. torch is not imported.

    Args:
        bundle: The bundle's folder.
        inputs: Files with raw inputs: .npy, .npz, .csv or images.
        top: How many classes to tell for each row.
        passes: How many random passes a stochastic bundle's answer is the mean of; 20 by default.

    Raises:
        BundleError: The path is no bundle, or an input does not fit it.
        VerificationError: The model file was changed.
    """
    from regplug.bundles.predict import predict as predict_files

    paths = [inputs] if isinstance(inputs, str | os.PathLike) else list(inputs)
    return predict_files(Path(bundle), [Path(path) for path in paths], top, passes)
