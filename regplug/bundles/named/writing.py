"""Writes a network with several inputs or outputs as a bundle, which is published only if it is verified."""

from __future__ import annotations

import contextlib
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import numpy as np
import torch
from torch import nn

from regplug.api import Task
from regplug.bundles.calibration.answers import SETS
from regplug.bundles.calibration.applying import apply_temperature, fit_conformal
from regplug.bundles.cases import REAL, Reference
from regplug.bundles.formats import Captured, Format, Names
from regplug.bundles.independence import rows_alone
from regplug.bundles.isolate import isolate, remove_hooks
from regplug.bundles.layout import bundle_digest
from regplug.bundles.named.axes import with_checked
from regplug.bundles.named.capturing import CapturedProgram, capture_named
from regplug.bundles.named.cases import named_cases, sized_rows
from regplug.bundles.named.checking import TestRows, check_named_file, clean_named_check
from regplug.bundles.named.deployed import NamedConformal, NamedDeployed, Packed
from regplug.bundles.named.manifest import named_manifest
from regplug.bundles.named.request import NamedRequest
from regplug.bundles.named.rows import TargetRows
from regplug.bundles.named.samples import Setting, write_named_samples
from regplug.bundles.named.signature import BATCH, Axis, OutputPart, Signature, Sizes, label_of, pack, settings_of
from regplug.bundles.outside_state import refuse_loose_modules
from regplug.bundles.preflight import (
    output_finite,
    repeats_equal,
    running_statistics,
    state_is_all,
    state_unchanged,
    takes_every_batch,
    weights_finite,
)
from regplug.bundles.proving import Proof, Work, prove_files, size_check, tell_test, test_data
from regplug.bundles.publish import published
from regplug.bundles.report import Check
from regplug.bundles.request import Bundle
from regplug.bundles.signing import Signer
from regplug.bundles.stochastic.record import Draws
from regplug.bundles.stochastic.reference import live_preflight, slow_attention
from regplug.bundles.tolerance import references
from regplug.bundles.writing import finish
from regplug.errors import ExportError, RegplugError

_FEW = 3
_OTHERS = ("onnx", "pt2")
"""Formats to offer when one fails."""


@dataclass(frozen=True, kw_only=True)
class _Model:
    """The model after its checks.

    Args:
        deployed: Maps raw inputs to outputs.
        captured: The captured model for the formats; with a conformal calibration it has one more output.
        signature: Its inputs, outputs and axes.
        settings: Its outputs at each setting of the axes.
        draws: Its outputs with live dropout, side by side; `None` if not stochastic.
        stochastic: The manifest's part on live dropout.
        calibration: The manifest's part on a calibration.
    """

    deployed: NamedDeployed
    captured: Captured
    signature: Signature
    settings: Sequence[Setting]
    draws: Draws | None
    stochastic: dict[str, Any] | None
    calibration: dict[str, Any] | None

    @property
    def live(self) -> contextlib.AbstractContextManager[None]:
        """Returns a context in which live dropout is active, if there is any."""
        return _live(self.deployed)


def write_named_bundle(request: NamedRequest, out: Path, signer: Signer | None = None) -> Bundle:
    """Exports a network in every requested format, verifies the files, and then publishes the folder.

    Args:
        request: The network and the specification of its files.
        out: The bundle's folder, published by one rename.
        signer: Signs the checksums; `None` for no signature.

    Raises:
        RequestError: The request is inconsistent, or the folder cannot be written; nothing was done.
        ExportError: The network cannot be exported; the message names the module or axis and a fix.
        VerificationError: A file differs from the network; the message lists the failed checks.
    """
    request.validate()
    work = Work()
    attention = slow_attention() if request.stochastic else contextlib.nullcontext()
    with published(out) as folder, torch.random.fork_rng(devices=[]), attention:
        model = _proven_model(request, work)
        manifest = named_manifest(request, model.signature)
        manifest["calibration"], manifest["stochastic"] = model.calibration, model.stochastic
        write_named_samples(folder, model.signature, model.settings, model.draws)
        _proven_files(request, folder, model, manifest, work)
        report = finish(folder, manifest, work, [name for name, _, _ in request.formats])
        if signer is not None:
            signer.sign(folder)
        digest = bundle_digest(folder)
        files = tuple(sorted(path.name for path in folder.iterdir()))
    return Bundle(path=Path(out), files=files, verification=report, digest=digest, seconds=work.seconds)


def _proven_model(request: NamedRequest, work: Work) -> _Model:
    cases = named_cases(request.samples, request.inputs)
    with work.stage("isolate"):
        model = _isolated(request, work)
    with work.stage("preflight"):
        _settle(model, request, cases[REAL], work)
        calibration = _with_temperature(model, request, work)
        draws, stochastic = _with_noise(model, request, cases[REAL], work)
    with work.stage("capture"), _live(model):
        count = len(stochastic["layers"]) if stochastic else 0
        found = capture_named(model, request.inputs, cases[REAL], request.declared, count)
        work.checks += found.checks
    # A manifest sorts its keys, and the order of the axes names the samples.
    axes = with_checked([found.axes[name] for name in sorted(found.axes)], request.declared.sizes)
    with work.stage("preflight"):
        shapes = [_shapes_at(model, request, cases[REAL], sizes) for sizes in settings_of(axes)]
        signature = _signature(request, found, axes, shapes)
        settings = [_known(model, signature, cases, at) for at in range(len(shapes))]
        _preflight(model, signature, settings, work)
    captured = _captured(model, found, signature)
    with work.stage("capture"):
        conformal = _conformal(model, request, settings[0].known[signature.outputs[0].name][0].tolerance, work)
        if conformal is not None:
            captured = _with_added_output(model, request, cases[REAL], captured, conformal)
    return _Model(
        deployed=model,
        captured=captured,
        signature=signature,
        settings=settings,
        draws=draws,
        stochastic=stochastic,
        calibration=conformal or calibration,
    )


def _live(model: NamedDeployed) -> contextlib.AbstractContextManager[None]:
    return contextlib.nullcontext() if model.noise is None else model.noise.live()


def _with_noise(
    model: NamedDeployed, request: NamedRequest, real: dict[str, np.ndarray], work: Work
) -> tuple[Draws | None, dict[str, Any] | None]:
    """Returns the model's outputs with live dropout, and their part of the manifest."""
    if model.noise is None:
        return None, None
    packed = Packed(model, request.inputs, request.declared.sizes)
    draws, part, checks = live_preflight(packed, model.noise, pack(real, request.inputs))
    work.checks += checks
    return draws, part


def _captured(model: NamedDeployed, found: CapturedProgram, signature: Signature) -> Captured:
    return Captured(
        module=model,
        program=found.program,
        example=found.example,
        input_name=signature.inputs[0].name,
        output_name=signature.outputs[0].name,
        names=Names(
            inputs={part.name: (BATCH, *part.shape) for part in signature.inputs},
            outputs={part.name: (BATCH, *part.shape) for part in signature.outputs},
        ),
    )


def _first(model: NamedDeployed, request: NamedRequest, rows: TargetRows) -> Packed:
    """Returns the model as a function of packed rows to its first output."""
    return Packed(model, request.inputs, rows.sizes, model.calling.outputs[0][0])


def _with_temperature(model: NamedDeployed, request: NamedRequest, work: Work) -> dict[str, Any] | None:
    rows, calibration = request.validation, request.calibration
    if rows is None or calibration is None or calibration.kind != "temperature":
        return None
    first = _first(model, request, rows)
    with _at_sizes(rows.sizes):
        part, check = apply_temperature(calibration, first)
    model.temperature = first.temperature
    work.checks.append(check)
    return part


def _conformal(model: NamedDeployed, request: NamedRequest, rounding: float, work: Work) -> dict[str, Any] | None:
    """Returns the manifest's part on conformal thresholds."""
    rows, calibration, task = request.validation, request.calibration, request.task
    if rows is None or task is None or calibration is None or calibration.kind != "conformal":
        return None
    first = _first(model, request, rows)
    with _at_sizes(rows.sizes):
        part, check = fit_conformal(calibration, task, first, rounding, is_shares=request.probabilities)
    work.checks.append(check)
    return part


def _with_added_output(
    model: NamedDeployed,
    request: NamedRequest,
    real: dict[str, np.ndarray],
    captured: Captured,
    part: dict[str, Any],
) -> Captured:
    """Returns the model with prediction sets or intervals as its last output."""
    module = NamedConformal(model, part["thresholds"], is_class=part["output"]["name"] == SETS)
    found = capture_named(module, request.inputs, real, request.declared)
    added, names = part["output"], captured.names or Names(inputs={}, outputs={})
    names = replace(names, outputs={**names.outputs, added["name"]: tuple(added["shape"])})
    return replace(captured, module=module, program=found.program, added_outputs=(added["name"],), names=names)


def _isolated(request: NamedRequest, work: Work) -> NamedDeployed:
    deployed, checks = isolate(nn.ModuleList(request.preprocess), request.module, "", stochastic=request.stochastic)
    work.checks += checks
    model = NamedDeployed(deployed.preprocess, deployed.network, request.calling, request.ending)
    model.noise = deployed.noise
    return model.eval()


def _settle(model: NamedDeployed, request: NamedRequest, real: dict[str, np.ndarray], work: Work) -> None:
    """Prepares the copy for export, as `regplug.bundles.preflight.settle` does."""
    packed = Packed(model, request.inputs, request.declared.sizes)
    raw = torch.from_numpy(pack(real, request.inputs))
    refuse_loose_modules(packed, raw[:_FEW])
    _guard_inputs(model, [torch.from_numpy(real[part.name][:_FEW].copy()) for part in request.inputs])
    work.checks += [weights_finite(packed), running_statistics(packed)]
    with torch.no_grad():
        width = packed(raw[:_FEW]).shape[1]
    task = Task(kind="regression", num_outputs=width, class_names=())
    work.checks += [takes_every_batch(packed, raw, task), remove_hooks(packed, raw[:_FEW])]


def _guard_inputs(model: NamedDeployed, raw: Sequence[torch.Tensor]) -> None:
    """Detects whether the network changes an input in place; if so, it receives copies from now on."""
    before = [one._version for one in raw]
    with torch.no_grad(), torch.random.fork_rng(devices=[]):
        model.result(raw)
    model.writes_input = [one._version for one in raw] != before


def _shapes_at(
    model: NamedDeployed, request: NamedRequest, real: dict[str, np.ndarray], sizes: Sizes
) -> list[tuple[int, ...]]:
    """Returns the shape of each output at given sizes, without the batch.

    Raises:
        ExportError: The model cannot take these sizes.
    """
    rows = sized_rows(real, request.inputs, sizes)
    with _at_sizes(sizes), torch.no_grad():
        parts = model.parts([torch.from_numpy(array) for array in rows.values()])
    return [tuple(part.shape[1:]) for part in parts]


@contextlib.contextmanager
def _at_sizes(sizes: Sizes) -> Iterator[None]:
    """Adds the sizes of the symbolic axes to the model's own errors."""
    try:
        yield
    except RegplugError:
        raise
    except Exception as error:
        raise _cannot_take(sizes, error) from error


def _cannot_take(sizes: Sizes, error: Exception) -> ExportError:
    return ExportError(
        f"The model cannot take {label_of(sizes) or 'its example'}: "
        f"{type(error).__name__}: {' '.join(str(error).split())[:200]}",
        hint=f"Declare the range of {', '.join(map(repr, sizes))} that it takes: (name, least, greatest) in dynamic.",
    )


def _signature(
    request: NamedRequest, found: CapturedProgram, axes: tuple[Axis, ...], shapes: Sequence[Sequence[tuple[int, ...]]]
) -> Signature:
    outputs = tuple(
        OutputPart(name=name, shape=tuple(axes_of[1:]), checked=tuple(setting[at] for setting in shapes))
        for at, ((name, _), axes_of) in enumerate(zip(request.calling.outputs, found.shapes, strict=True))
    )
    return Signature(inputs=request.inputs, outputs=outputs, axes=axes)


def _known(model: NamedDeployed, signature: Signature, cases: dict[str, dict[str, np.ndarray]], at: int) -> Setting:
    """Computes the model's outputs at one setting."""
    sizes = signature.settings[at]
    inputs = {REAL: sized_rows(cases[REAL], signature.inputs, sizes)} if at else cases
    packed = {case: pack(arrays, signature.inputs) for case, arrays in inputs.items()}
    known: dict[str, list[Reference]] = {}
    for part in signature.outputs:
        known[part.name] = references(Packed(model, signature.inputs, sizes, part.name), packed)
    return Setting(at=at, sizes=sizes, inputs=inputs, known=known)


def _preflight(model: NamedDeployed, signature: Signature, settings: Sequence[Setting], work: Work) -> None:
    for part in signature.outputs:
        for setting in settings:
            known = setting.known[part.name]
            one = Packed(model, signature.inputs, setting.sizes, part.name)
            checks = [output_finite(known[0]), repeats_equal(one, known[0])]
            checks += [rows_alone(one, known)] if setting.at == 0 else []
            label = f"{part.name}.{setting.label}" if setting.label else part.name
            work.checks += [replace(check, name=f"{check.name}.{label}") for check in checks]
    packed = Packed(model, signature.inputs, settings[0].sizes)
    few = torch.from_numpy(settings[0].known[signature.outputs[0].name][0].inputs[:_FEW])
    work.checks += [state_unchanged(packed, few), state_is_all(packed, few)]


def _proven_files(request: NamedRequest, folder: Path, model: _Model, manifest: dict[str, Any], work: Work) -> None:
    test = _test_rows(request, model, manifest, work)
    signature, settings = model.signature, model.settings

    def check(form: Format, path: Path) -> list[Check]:
        checks = check_named_file(form, path, manifest, signature, settings, model.draws, test)
        return [*checks, *size_check(form, path, request.module)]

    proof = Proof(
        input_name="",
        writing=lambda name: _writing(name, request, model),
        check=check,
        clean=lambda process, form, path: clean_named_check(process, form, path, signature, settings[0], manifest),
    )
    prove_files(request.formats, folder, model.captured, manifest, proof, work)


def _test_rows(request: NamedRequest, model: _Model, manifest: dict[str, Any], work: Work) -> TestRows | None:
    """Returns the test rows with the model's outputs, after telling in the manifest what they show."""
    if request.test is None or request.task is None:
        return None
    real = model.settings[0].known[model.signature.outputs[0].name][0]
    with _at_sizes(request.test.sizes):
        data = test_data(request.test.pair, _first(model.deployed, request, request.test), real, work)
    work.checks += tell_test(manifest, request.task, data, is_ended=request.probabilities)
    return None if data is None else TestRows(data=data, sizes=request.test.sizes)


@contextlib.contextmanager
def _writing(name: str, request: NamedRequest, model: _Model) -> Iterator[None]:
    with _naming_others(name, request), model.live:
        yield


@contextlib.contextmanager
def _naming_others(failing: str, request: NamedRequest) -> Iterator[None]:
    """Adds to the error of a format which formats remain."""
    try:
        yield
    except ExportError as error:
        asked = [name for name, _, _ in request.formats]
        others = [name for name in dict.fromkeys((*asked, *_OTHERS)) if name != failing]
        raise ExportError(error.message, hint=f"{error.hint} Or export without it: formats={others}.") from error
