"""Exports a user's own module with several named inputs or outputs, or with symbolic axes."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import torch
from torch import nn

from regplug.api import Task, TaskKind
from regplug.bundles.blame import user_line
from regplug.bundles.calibration.request import calibration_of
from regplug.bundles.causes import cause
from regplug.bundles.formats import Array
from regplug.bundles.isolate import isolate
from regplug.bundles.named.axes import Declared, declared_axes
from regplug.bundles.named.calling import Calling, output_keys, style_of
from regplug.bundles.named.deployed import NamedDeployed
from regplug.bundles.named.request import NamedRequest
from regplug.bundles.named.rows import TargetRows
from regplug.bundles.named.signature import InputPart
from regplug.bundles.named.writing import write_named_bundle
from regplug.bundles.publish import OVERWRITE, require_free
from regplug.bundles.refusals import refuse_parts
from regplug.bundles.request import layout_of
from regplug.bundles.signing import load_signer
from regplug.errors import RegplugError, RequestError
from regplug.exporting.of_module import FORMATS, array_of, call_hint, chosen_formats, require_calibrated, require_module
from regplug.exporting.records import Exported
from regplug.registry import Registry

INPUT = "input"
"""Name of a single input that was given without a name."""

_ALONE = ("column_names",)
_UINT8_RANGE = (0.0, 255.0)


def is_named_request(example: Any, outputs: Any, dynamic: Any) -> bool:
    """Returns whether a module is exported with names of inputs or outputs, or with symbolic axes."""
    return isinstance(example, Mapping) or outputs is not None or dynamic is not None


def export_named(
    module: nn.Module,
    example: Any,
    out: Path,
    *,
    formats: Sequence[str] = FORMATS,
    outputs: Sequence[str] | str | None = None,
    dynamic: Mapping[Any, Any] | None = None,
    class_names: Sequence[str] | None = None,
    preprocess: nn.Module | Mapping[str, nn.Module] | None = None,
    value_range: tuple[float, float] | Mapping[str, tuple[float, float]] | None = None,
    probabilities: bool = False,
    stochastic: bool = False,
    calibrate: str = "none",
    conformal: float = 0.0,
    task: TaskKind | None = None,
    test: tuple[Mapping[str, Any], Any] | None = None,
    validation: tuple[Mapping[str, Any], Any] | None = None,
    manifest: Mapping[str, Any] | None = None,
    license_id: str = "",
    sign: Path | None = None,
    overwrite: bool = False,
    registry: Registry | None = None,
    **others: Any,
) -> Exported:
    """Exports and verifies a trained module with several inputs or outputs, or with symbolic axes.

    Args:
        module: The trained module; copied, never changed.
        example: Real inputs by name, or those of a single input.
        out: The bundle's folder.
        formats: Formats as components.
        outputs: Names of the outputs in order; with a dict or a named tuple they choose outputs.
        dynamic: Input -> axis -> name, or a tuple of name, least and greatest size; for a single input also without
            its name.
        class_names: Names of the classes or labels whose logits are the first output.
        preprocess: A module for the raw values of each input; for a single input also without its name.
        value_range: Smallest and largest raw value of each input; by default 0 to 255 for uint8.
        probabilities: Whether the first output ends in a softmax (for labels, a sigmoid).
        stochastic: Whether its dropout modules stay live in inference (MC dropout).
        calibrate: `temperature` divides the first output by a number fitted on the validation rows; `none` does not.
        conformal: Promised coverage of prediction sets or intervals, fitted on the validation rows; 0 for none.
        task: What the first output `(B, K)` decides: `classification`, `multilabel` or `regression`; by default a
            classification if there are class names, otherwise nothing.
        test: Raw test inputs by name and targets, on which the first output of the files is evaluated.
        validation: Raw validation inputs by name and targets; only for `calibrate` or `conformal`.
        manifest: Additional fields for `manifest.json`.
        license_id: The model's licence; empty if unknown.
        sign: The secret key (minisign) with which the bundle is signed.
        overwrite: Whether to replace an existing bundle at `out`.
        registry: The available components; by default all that are installed.
        others: Arguments that only bundles with one input and one output have.

    Raises:
        RequestError: The request is inconsistent; nothing was done.
    """
    _refuse_alone(others)
    kind = _kind(task, class_names)
    if kind is None:
        given = {"probabilities": probabilities, "calibrate": calibrate != "none", "conformal": conformal}
        _refuse_without_task({**given, "test": test is not None, "validation": validation is not None})
    require_calibrated(validation, calibrate, conformal)
    require_module(module)
    require_free(Path(out), overwrite=overwrite, hint=OVERWRITE)
    signer = None if sign is None else load_signer(sign)
    fields = {**(manifest or {}), **({"license": license_id} if license_id else {})}
    request = _request(module, example, dynamic, preprocess, value_range)
    formats_of_files = chosen_formats(formats, registry)
    request = replace(request, formats=formats_of_files, manifest=fields, stochastic=stochastic)
    default = "values" if kind in (None, "regression") else "probabilities" if probabilities else "logits"
    keys = output_keys(_first_result(request), _texts(outputs), default)
    request = replace(request, calling=replace(request.calling, outputs=keys))
    parts = _called(request, lambda model, raw: model.parts(raw))
    if kind is not None:
        rows = _target_rows("Validation", validation, request)
        request = replace(
            request,
            task=_task(request, parts[0], kind, tuple(class_names or ())),
            probabilities=probabilities,
            test=_target_rows("Test", test, request),
            validation=rows,
            calibration=calibration_of(calibrate, conformal, None if rows is None else rows.pair),
        )
    return Exported.of(write_named_bundle(request, out, signer))


def _request(
    module: nn.Module, example: Any, dynamic: Mapping[Any, Any] | None, preprocess: Any, value_range: Any
) -> NamedRequest:
    is_single = not isinstance(example, Mapping)
    given = {INPUT: example} if is_single else dict(example)
    samples = {name: array_of(value) for name, value in given.items()}
    _require_rows(samples)
    names = tuple(samples)
    declared = declared_axes(_by_input(dynamic, names), {name: array.shape for name, array in samples.items()})
    steps = _by_name("preprocess", preprocess, names)
    for part in (module, *steps.values()):
        require_module(part)
        refuse_parts(part)
    return NamedRequest(
        module=module,
        preprocess=[steps.get(name) or nn.Identity() for name in names],
        calling=Calling(inputs=names, style=style_of(module, names, is_single=is_single)),
        samples=samples,
        inputs=_inputs(samples, declared, _by_name("value_range", value_range, names)),
        declared=declared,
        formats=(),
    )


def _refuse_alone(others: Mapping[str, Any]) -> None:
    given = [name for name in _ALONE if name in others and others[name] not in (None, False, ())]
    if given:
        raise RequestError(
            f"{', '.join(given)} cannot be combined with named inputs or outputs, or with dynamic: the names are those "
            "of a table's columns, and such a bundle takes arrays by name, not tables.",
            hint="Leave it out. To record the names, pass them as a field of manifest=, such as {'columns': {...}}.",
        )


def _kind(task: TaskKind | None, class_names: Sequence[str] | None) -> TaskKind | None:
    """Returns the kind of task; `None` if the outputs decide nothing."""
    if isinstance(class_names, str) or len(set(class_names or ())) != len(class_names or ()):
        raise RequestError(f"The class names {class_names!r} are not distinct.", hint="Give one name for each class.")
    if class_names and task == "regression":
        raise RequestError("Class names were given for a regression.", hint="Leave out the names, or the task.")
    return task or ("classification" if class_names else None)


def _refuse_without_task(given: Mapping[str, Any]) -> None:
    names = [name for name, value in given.items() if value]
    if names:
        raise RequestError(
            f"{', '.join(names)} needs a task, and it is not known what the first output holds.",
            hint="Give class_names if it holds the logits of classes, or task='classification', 'multilabel' or "
            "'regression'.",
        )


def _task(request: NamedRequest, first: torch.Tensor, kind: TaskKind, names: tuple[str, ...]) -> Task:
    """Returns the task after checking the first output for two rows."""
    shape, output = ", ".join(map(str, first.shape[1:])), request.calling.outputs[0][0]
    if names and tuple(first.shape[1:]) != (len(names),):
        raise RequestError(
            f"There are {len(names)} class names, but the first output, {output!r}, has shape (batch, {shape}).",
            hint="The first output holds one logit for each class; choose the order with outputs=.",
        )
    if first.ndim != 2:
        raise RequestError(
            f"The first output, {output!r}, has shape (batch, {shape}), where a {kind} needs (batch, outputs).",
            hint="Choose the order with outputs=, or leave out the task.",
        )
    return Task(kind=kind, num_outputs=first.shape[1], class_names=names)


def _target_rows(which: str, given: tuple[Any, Any] | None, request: NamedRequest) -> TargetRows | None:
    """Returns rows with targets; those of a single input may leave out its name."""
    if given is None:
        return None
    if not isinstance(given, tuple) or len(given) != 2:
        raise RequestError(f"{which} rows are not a pair.", hint="Give (inputs by name, targets).")
    names = tuple(request.samples)
    arrays = {name: array_of(value) for name, value in _by_name(f"{which} rows", given[0], names).items()}
    axes = tuple(request.declared.axes.values())
    return TargetRows.of(which, arrays, array_of(given[1]), request.inputs, axes)


def _texts(names: Sequence[str] | str | None) -> tuple[str, ...] | None:
    return None if names is None else (names,) if isinstance(names, str) else tuple(names)


def _require_rows(samples: Mapping[str, Array]) -> None:
    if not samples:
        raise RequestError("The example has no input.", hint="Give real rows for each input: {'image': images}.")
    flat = [name for name, array in samples.items() if not array.ndim]
    if flat:
        raise RequestError(
            f"The example of {flat[0]!r} is a single number.", hint="Give a few rows; the first axis is the batch."
        )
    rows = {len(array) for array in samples.values()}
    if len(rows) != 1 or 0 in rows:
        told = ", ".join(f"{name} has {len(array)}" for name, array in samples.items())
        raise RequestError(f"The example has no common number of rows: {told}.", hint="Give every input the same rows.")


def _by_input(dynamic: Mapping[Any, Any] | None, names: tuple[str, ...]) -> Mapping[str, Any]:
    """Returns the declaration of axes by input; that of a single input may leave out its name."""
    if dynamic and all(type(key) is int for key in dynamic):
        if len(names) > 1:
            raise RequestError(
                "dynamic names axes, but not their input.", hint=f"Give dynamic={{{names[0]!r}: {dict(dynamic)!r}}}."
            )
        return {names[0]: dynamic}
    return dynamic or {}


def _by_name(what: str, value: Any, names: tuple[str, ...]) -> dict[str, Any]:
    """Returns a value for each input; that of a single input may leave out its name."""
    if value is None:
        return {}
    # A module is not a mapping, but nn.ModuleDict behaves like one.
    known = {names[0]: value} if len(names) == 1 and not isinstance(value, Mapping) else value
    unknown = [name for name in known if name not in names] if isinstance(known, Mapping) else [what]
    if unknown:
        raise RequestError(
            f"{what} is not given by the names of the inputs: {', '.join(map(str, unknown))}.",
            hint=f"Give {what}={{{names[0]!r}: ...}}; the inputs are {', '.join(names)}.",
        )
    return dict(known)


def _inputs(samples: Mapping[str, Array], declared: Declared, ranges: Mapping[str, Any]) -> tuple[InputPart, ...]:
    parts = []
    for name, array in samples.items():
        places = declared.places.get(name, {})
        shape: list[int | str] = [places.get(at, size) for at, size in enumerate(array.shape)]
        layout = layout_of(array)
        known = ranges.get(name) or (_UINT8_RANGE if array.dtype == np.uint8 else None)
        parts.append(
            InputPart(
                name=name,
                # A row has a fixed number of columns.
                layout="array" if layout == "row" and places else layout,
                dtype=array.dtype,
                shape=tuple(shape[1:]),
                range=None if known is None else (float(known[0]), float(known[1])),
            )
        )
    return tuple(parts)


def _first_result(request: NamedRequest) -> Any:
    return _called(request, lambda model, raw: model.result(raw))


def _called(request: NamedRequest, call: Callable[[NamedDeployed, list[torch.Tensor]], Any]) -> Any:
    """Calls a copy of the module with two rows, without changing torch's random state."""
    deployed, _ = isolate(nn.ModuleList(request.preprocess), request.module, "")
    model = NamedDeployed(deployed.preprocess, deployed.network, request.calling).eval()
    raw = [torch.from_numpy(np.resize(array, (2, *array.shape[1:])).copy()) for array in request.samples.values()]
    try:
        with torch.no_grad(), torch.random.fork_rng(devices=[]):
            return call(model, raw)
    except RegplugError as error:
        raise RequestError(error.message, hint=error.hint) from error
    except Exception as error:
        shapes = ", ".join(f"{name} {array.shape}" for name, array in request.samples.items())
        line = user_line(error)
        raise RequestError(
            f"{type(request.module).__qualname__} cannot take the inputs {shapes}: it raises"
            f"{f' at {line}' if line else ''} {cause(error)}",
            hint=call_hint(
                request.module,
                error,
                "The first axis of every input is the batch, of any size; `preprocess` maps an input to the module's.",
            ),
        ) from error
