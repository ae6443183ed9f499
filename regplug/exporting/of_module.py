"""Exports a user's own trained module as a verified bundle, without a run."""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import torch
from torch import nn

from regplug.api import Task, TaskKind
from regplug.bundles.answers import require_columns
from regplug.bundles.blame import user_line, where_it_broke
from regplug.bundles.calibration.request import calibration_of
from regplug.bundles.causes import cause
from regplug.bundles.formats import Array, Format
from regplug.bundles.isolate import isolate
from regplug.bundles.publish import OVERWRITE, require_free
from regplug.bundles.refusals import refuse_module
from regplug.bundles.request import BundleRequest, layout_of, licensed
from regplug.bundles.signing import load_signer
from regplug.bundles.writing import write_bundle
from regplug.config.spec import ComponentSpec
from regplug.errors import ExportError, RequestError
from regplug.exporting.of_run import named_format
from regplug.exporting.records import Exported
from regplug.registry import Registry, default_registry, read_params
from regplug.registry.components import Chosen

FORMATS = ("onnx", "torchscript")
_UINT8_RANGE = (0.0, 255.0)
_NAMES = "Give one distinct name for each class or label; a regression has none."


def export_module(
    module: nn.Module,
    example: Any,
    out: str | Path,
    *,
    class_names: Sequence[str] | None = None,
    formats: Sequence[str] = FORMATS,
    preprocess: nn.Module | None = None,
    probabilities: bool = False,
    stochastic: bool = False,
    calibrate: str = "none",
    conformal: float = 0.0,
    task: TaskKind | None = None,
    test: tuple[Any, Any] | None = None,
    validation: tuple[Any, Any] | None = None,
    value_range: tuple[float, float] | None = None,
    column_names: Sequence[str] = (),
    manifest: Mapping[str, Any] | None = None,
    license_id: str = "",
    sign: Path | None = None,
    overwrite: bool = False,
    registry: Registry | None = None,
) -> Exported:
    """Exports and verifies a trained module.

    Args:
        module: Takes a batch `(B, ...)` and returns logits `(B, C)` or values `(B, K)`. It is copied, never changed.
        example: A few real inputs `(N, ...)` with the dtype that they have in deployment; more rows verify more.
        out: The bundle's folder.
        class_names: One name for each class.
        formats: Formats as components.
        preprocess: Maps raw input to the input of `module`, such as a normalisation; becomes part of the graph.
        probabilities: Whether the graph ends in a softmax (for labels, a sigmoid).
        stochastic: Whether its dropout modules stay live in inference (MC dropout).
        calibrate: `temperature` divides the logits by a number fitted on the validation rows; `none` does not.
        conformal: Promised coverage of prediction sets or intervals, fitted on the validation rows; 0 for none.
        task: `classification`, `multilabel` or `regression`; by default a classification if there are class
            names or two or more outputs.
        test: Raw test inputs and targets, on which the files themselves are evaluated.
        validation: Raw validation inputs and targets; only for `calibrate` or `conformal`.
        value_range: Smallest and largest raw value; by default 0 to 255 for uint8.
        column_names: Names of the columns of rows.
        manifest: Additional fields for `manifest.json`.
        license_id: The model's licence, such as `apache-2.0`; empty if unknown.
        sign: The secret key (minisign) with which the bundle is signed.
        overwrite: Whether to replace an existing bundle at `out`.
        registry: The available components; by default all that are installed.

    Raises:
        RequestError: The request is inconsistent; nothing was done.
        ExportError: The module cannot be exported; the message names the submodule and a fix.
        VerificationError: A file differs from the module; no bundle is written.
    """
    transform = nn.Identity() if preprocess is None else preprocess
    for part in (module, transform):
        require_module(part)
        refuse_module(part)
    require_calibrated(validation, calibrate, conformal)
    require_free(Path(out), overwrite=overwrite, hint=OVERWRITE)
    signer = None if sign is None else load_signer(sign)
    samples = array_of(example)
    if column_names and samples.shape[1:] != (len(column_names),):
        raise RequestError(
            f"{len(column_names)} column names were given for inputs of shape {samples.shape}.",
            hint="Give one name for each column of rows (N, F); other inputs have no column names.",
        )
    request = BundleRequest(
        module=module,
        preprocess=transform,
        samples=samples,
        layout=layout_of(samples),
        task=_task(module, transform, samples, class_names, task),
        formats=chosen_formats(formats, registry),
        value_range=value_range or (_UINT8_RANGE if samples.dtype == np.uint8 else None),
        test=_pair(test),
        calibration=calibration_of(calibrate, conformal, _pair(validation)),
        probabilities=probabilities,
        stochastic=stochastic,
        manifest={**(manifest or {}), "column_names": list(column_names)},
    )
    return Exported.of(write_bundle(licensed(request, license_id), Path(out), signer))


def require_module(module: object) -> None:
    """Refuses whatever is not a module.

    Raises:
        RequestError: It is not a `torch.nn.Module`.
    """
    if not isinstance(module, nn.Module):
        raise RequestError(
            f"{module!r} is a {type(module).__name__}, not a torch.nn.Module.",
            hint="Give a trained module, or the id or name of a run; wrap a function in a module.",
        )


def require_calibrated(validation: object, calibrate: str, conformal: float) -> None:
    """Checks that validation rows are used.

    Raises:
        RequestError: They were given, but no calibration.
    """
    if validation is not None and calibrate == "none" and not conformal:
        raise RequestError(
            "Validation rows were given, but no calibration.",
            hint="Request one: calibrate='temperature' or conformal=0.9; or leave the rows out.",
        )


def chosen_formats(formats: Sequence[str] | str, registry: Registry | None) -> list[tuple[str, str, Format]]:
    """Returns name, file name and object of each format."""
    texts = [formats] if isinstance(formats, str) else formats
    return [named_format(_chosen(text, registry or default_registry())) for text in texts]


def array_of(value: Any) -> Array:
    """Returns an input as an array, with float64 as float32.

    Raises:
        RequestError: It does not consist of numbers.
    """
    array = value.detach().cpu().numpy() if isinstance(value, torch.Tensor) else np.asarray(value)
    if array.dtype.kind not in "buif":
        raise RequestError(
            f"Inputs and targets must be numbers, but {array.dtype} was given.",
            hint="Give arrays or tensors of numbers, not file names; classes as 0, 1, 2 in the order of their names.",
        )
    # Python floats become float64, but inputs in deployment and torch's layers are float32.
    return array.astype(np.float32) if array.dtype == np.float64 else array


def _pair(rows: tuple[Any, Any] | None) -> tuple[Array, Array] | None:
    return None if rows is None else (array_of(rows[0]), array_of(rows[1]))


def _task(
    module: nn.Module, preprocess: nn.Module, samples: Array, class_names: Sequence[str] | None, kind: TaskKind | None
) -> Task:
    if isinstance(class_names, str):
        raise RequestError(f"The class names are a single string, {class_names!r}.", hint=_NAMES)
    names = tuple(class_names or ())
    if names and (kind == "regression" or len(set(names)) != len(names)):
        raise RequestError(f"Class names {', '.join(names)} were given for a {kind or 'classification'}.", hint=_NAMES)
    # With class names the number of outputs is known; the later checks name the submodule of an error.
    width = len(names) or _num_outputs(module, preprocess, samples)
    return Task(kind=kind or ("classification" if width > 1 else "regression"), num_outputs=width, class_names=names)


def _num_outputs(module: nn.Module, preprocess: nn.Module, samples: Array) -> int:
    """Returns the number of outputs of a copy of the module for two rows, without changing torch's random state."""
    deployed, _ = isolate(preprocess, module, ending="")
    raw = torch.from_numpy(np.resize(samples, (2, *samples.shape[1:])).copy()) if samples.size else torch.empty(0)
    try:
        with torch.no_grad(), torch.random.fork_rng(devices=[]):
            output = deployed(raw)
    except Exception as error:
        line = user_line(error)
        raise RequestError(
            f"{type(module).__qualname__} cannot take inputs of shape {samples.shape}: for two of them, "
            f"{where_it_broke(deployed, raw)} raises{f' at {line}' if line else ''} {cause(error)}",
            hint=call_hint(
                module,
                error,
                "The example's first axis is the batch, of any size; `preprocess` maps it to the module's input.",
            ),
        ) from error
    try:
        return require_columns(output).shape[1]
    except ExportError as error:
        raise RequestError(error.message, hint=error.hint) from error


def call_hint(module: nn.Module, error: Exception, otherwise: str) -> str:
    """Returns a hint for a module that raises an error: another one if it fixes the type of its input.

    Args:
        module: The module.
        error: What it raises.
        otherwise: The hint for other errors.
    """
    is_other_type = any(one.is_floating_point() and one.dtype != torch.float32 for one in module.parameters())
    if not is_other_type or not re.search(r"dtype|type \(", str(error)):
        return otherwise
    return (
        "The exported copy has float32 weights: cast an input to the type of the weights, x.to(self.weight.dtype), not "
        "to a fixed type such as x.half()."
    )


def _chosen(text: str, registry: Registry) -> Chosen:
    spec = ComponentSpec.parse(text)
    registered = registry.find("format", spec)
    return Chosen(spec=spec, registered=registered, params=read_params(registered, spec.values))
