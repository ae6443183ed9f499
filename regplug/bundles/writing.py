"""Writes a trained network as a bundle, which is published only if it is verified."""

from __future__ import annotations

import contextlib
import re
from collections.abc import Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import numpy as np
import torch

from regplug.bundles.calibration.applying import apply_temperature, fit_conformal
from regplug.bundles.calibration.checks import check_added_output
from regplug.bundles.calibration.graph import Conformal
from regplug.bundles.capture import EXAMPLE_ROWS, capture, capture_checks
from regplug.bundles.card import write_card
from regplug.bundles.cases import BATCHES, REAL, Reference, make_cases
from regplug.bundles.decisions import decision_of
from regplug.bundles.formats import Captured, Format
from regplug.bundles.graph import check_graph
from regplug.bundles.independence import rows_alone
from regplug.bundles.isolate import Deployed, isolate
from regplug.bundles.layout import (
    MANIFEST,
    VERIFICATION,
    bundle_digest,
    canonical_json,
    write_checksums,
)
from regplug.bundles.manifest import build_manifest
from regplug.bundles.numbers import check_file
from regplug.bundles.preflight import (
    output_finite,
    rebuilt_equal,
    repeats_equal,
    state_is_all,
    state_unchanged,
    weights_finite,
)
from regplug.bundles.proving import Proof, Work, prove_files, size_check, tell_test, test_data, test_rows_for
from regplug.bundles.publish import published
from regplug.bundles.report import Check, Report
from regplug.bundles.request import Bundle, BundleRequest
from regplug.bundles.rows import rows_prepared
from regplug.bundles.samples import write_samples
from regplug.bundles.signing import Signer
from regplug.bundles.stochastic.checks import check_stochastic_file, clean_check
from regplug.bundles.stochastic.layers import Noise
from regplug.bundles.stochastic.record import Draws, draws_arrays
from regplug.bundles.stochastic.reference import live_preflight, slow_attention
from regplug.bundles.structure import FEW_BATCHES, settle
from regplug.bundles.test_set import TestData
from regplug.bundles.tolerance import references
from regplug.bundles.untrained import UntrainedGraph
from regplug.errors import ExportError, VerificationError


def write_bundle(
    request: BundleRequest, out: Path, signer: Signer | None = None, *, untrained: UntrainedGraph | None = None
) -> Bundle:
    """Exports a trained network in every requested format, verifies the files, and then publishes the folder.

    Args:
        request: The network and the specification of its files.
        out: The bundle's folder, published by one rename. An existing bundle is replaced; anything else is refused.
        signer: Signs the checksums; `None` for no signature.
        untrained: What `check_untrained` returned for the untrained network. The graph is not captured again if the
            network's structure is the same.

    Returns:
        The bundle with its verification report. Every check has passed.

    Raises:
        RequestError: The request is inconsistent, or the folder cannot be written; nothing was done.
        ExportError: The network cannot be exported; the message names the module and a fix.
        VerificationError: A file differs from the network; the message lists the failed checks.
    """
    request.validate()
    try:
        return _written(request, out, signer, Work(untrained=untrained))
    except (ExportError, VerificationError):
        if untrained is None or not untrained.is_used:
            raise
    # The code may depend on more than the structure of its modules.
    return _written(request, out, signer, Work())


def _written(request: BundleRequest, out: Path, signer: Signer | None, work: Work) -> Bundle:
    manifest = build_manifest(request)
    attention = slow_attention() if request.stochastic else contextlib.nullcontext()
    with published(out) as folder, torch.random.fork_rng(devices=[]), attention:
        model = _proven_model(request, work)
        manifest["stochastic"], manifest["calibration"] = model.stochastic, model.calibration
        more = draws_arrays(model.draws, request.output_name) if model.draws else {}
        write_samples(folder, model.known, request.input_name, request.output_name, more)
        _proven_files(request, folder, model, manifest, work)
        report = finish(folder, manifest, work)
        if signer is not None:
            signer.sign(folder)
        digest = bundle_digest(folder)
        files = tuple(sorted(path.name for path in folder.iterdir()))
    return Bundle(path=Path(out), files=files, verification=report, digest=digest, seconds=work.seconds)


@dataclass(frozen=True, kw_only=True)
class _Model:
    """The model after its checks.

    Args:
        deployed: Maps raw input to its output.
        captured: The captured model for the formats; with a conformal calibration it has a second output.
        known: Its outputs without noise.
        draws: Its outputs with live dropout; `None` if not stochastic.
        stochastic: The manifest's part on live dropout.
        calibration: The manifest's part on a calibration.
    """

    deployed: Deployed
    captured: Captured
    known: Sequence[Reference]
    draws: Draws | None = None
    stochastic: dict[str, Any] | None = None
    calibration: dict[str, Any] | None = None

    @property
    def live(self) -> contextlib.AbstractContextManager[None]:
        """Returns a context in which live dropout is active, if there is any."""
        noise = self.deployed.noise
        return noise.live() if isinstance(noise, Noise) else contextlib.nullcontext()


def _proven_model(request: BundleRequest, work: Work) -> _Model:
    cases = make_cases(request.samples, request.value_range)
    raw = torch.from_numpy(cases[REAL])
    with work.stage("isolate"):
        network = request.module if request.live is None else request.live
        deployed, checks = isolate(request.preprocess, network, request.ending, stochastic=request.stochastic)
        work.checks += checks
    noise, sizes = deployed.noise, BATCHES if work.untrained is None else FEW_BATCHES
    with work.stage("preflight"):
        work.checks += [weights_finite(deployed), *settle(request, deployed, raw, sizes)]
        draws, stochastic = _live(deployed, noise, cases[REAL], work) if noise else (None, None)
        calibration = _with_temperature(request, deployed, work)
    with work.stage("capture"), noise.live() if noise else contextlib.nullcontext():
        program = _captured(deployed, raw[:EXAMPLE_ROWS], len(stochastic["layers"]) if stochastic else 0, work)
    # After the capture, which distinguishes a branch on values from an output that depends on the batch.
    with work.stage("preflight"):
        known = _preflight(request, deployed, cases, work)
        work.checks += rows_prepared(request.manifest, known[0].inputs)
    captured = Captured(
        module=deployed,
        program=program,
        example=raw[:EXAMPLE_ROWS],
        input_name=request.input_name,
        output_name=request.output_name,
    )
    if request.calibration is not None and request.calibration.kind == "conformal":
        with work.stage("capture"):
            part, check = fit_conformal(
                request.calibration, request.task, deployed, known[0].tolerance, is_shares=request.probabilities
            )
            work.checks.append(check)
            calibration, captured = part, _with_added_output(request, deployed, captured, part)
    return _Model(
        deployed=deployed, captured=captured, known=known, draws=draws, stochastic=stochastic, calibration=calibration
    )


def _captured(deployed: Deployed, example: torch.Tensor, draws: int, work: Work) -> torch.export.ExportedProgram:
    known = work.untrained.of(deployed, example) if work.untrained is not None and not draws else None
    program, checks = capture(deployed, example, draws) if known is None else (known, capture_checks(known))
    work.checks += checks
    return program


def _with_temperature(request: BundleRequest, deployed: Deployed, work: Work) -> dict[str, Any] | None:
    if request.calibration is None or request.calibration.kind != "temperature":
        return None
    part, check = apply_temperature(request.calibration, deployed)
    work.checks.append(check)
    return part


def _with_added_output(
    request: BundleRequest, deployed: Deployed, captured: Captured, part: dict[str, Any]
) -> Captured:
    """Returns the model with prediction sets or intervals as its second output."""
    module = Conformal(deployed, part["thresholds"], is_class=request.task.kind == "classification")
    program, _ = capture(module, captured.example)
    return replace(captured, module=module, program=program, added_outputs=(part["output"]["name"],))


def _live(deployed: Deployed, noise: Noise, real: np.ndarray, work: Work) -> tuple[Draws, dict[str, Any]]:
    draws, part, checks = live_preflight(deployed, noise, real)
    work.checks += checks
    return draws, part


def _preflight(request: BundleRequest, deployed: Deployed, cases: dict[str, np.ndarray], work: Work) -> list[Reference]:
    raw = torch.from_numpy(cases[REAL])
    known = references(deployed, cases)
    work.checks += [output_finite(known[0]), repeats_equal(deployed, known[0])]
    work.checks += [rows_alone(deployed, known), state_unchanged(deployed, raw[:EXAMPLE_ROWS])]
    if request.rebuild is None:
        work.checks.append(state_is_all(deployed, raw[:EXAMPLE_ROWS]))
    else:
        work.checks.append(rebuilt_equal(deployed, request.module, request.rebuild, known[0]))
    return known


def _proven_files(
    request: BundleRequest,
    folder: Path,
    model: _Model,
    manifest: dict[str, Any],
    work: Work,
) -> None:
    test = test_data(request.test, model.deployed, model.known[0], work)
    work.checks += tell_test(manifest, request.task, test, is_ended=request.probabilities)
    proof = Proof(
        input_name=request.input_name,
        writing=lambda _: model.live,
        check=lambda form, path: _check(request, form, path, model, manifest, test),
        clean=lambda process, form, path: clean_check(process, form, path, model.known, manifest),
    )
    prove_files(request.formats, folder, model.captured, manifest, proof, work)


def _check(
    request: BundleRequest,
    form: Format,
    path: Path,
    model: _Model,
    manifest: dict[str, Any],
    test: TestData | None,
) -> list[Check]:
    decision = decision_of(request.task.kind, request.output_name)
    some = test_rows_for(form, request.formats, test)
    checks = [*check_graph(form, path, manifest), *size_check(form, path, request.module)]
    if model.draws and model.stochastic:
        layers = model.stochastic["layers"]
        checks += check_stochastic_file(form, path, model.known, model.draws, layers, decision=decision, test=some)
        return checks
    checks += check_file(form, path, model.known, decision=decision, test=some)
    return [*checks, *check_added_output(form, path, model.known, manifest, test)]


def _listed(failures: Sequence[Check]) -> list[str]:
    """Returns one line for each failure; checks with the same message except for numbers share one."""
    alike: dict[str, list[Check]] = {}
    for check in failures:
        alike.setdefault(check.name if check.figure is not None else re.sub(r"\d+", "#", check.detail), []).append(
            check
        )
    lines = []
    for first, *others in alike.values():
        also = f" (and {', '.join(check.name for check in others)})" if others else ""
        lines.append(f"{first}{also}")
    return lines


def finish(folder: Path, manifest: dict[str, Any], work: Work, formats: Sequence[str] = ()) -> Report:
    """Writes everything but the model files, if every check passed.

    Args:
        folder: The bundle's folder.
        manifest: The manifest.
        work: Has all checks.
        formats: The formats, for a hint about those without a failed check.

    Raises:
        VerificationError: A check failed.
    """
    report = Report(checks=tuple(work.checks))
    if not report.passed:
        failed = {check.name.partition(".")[0] for check in report.failures}
        sound = [name for name in formats if name not in failed]
        is_hinted = sound and failed <= set(formats)
        raise VerificationError(
            "The files differ from the model, so no bundle was written:\n"
            + "\n".join(f"  {line}" for line in _listed(report.failures)),
            hint=f"Nothing was written. Every check of the other formats passed: export with formats={sound}."
            if is_hinted
            else "Nothing was written. Leave out the format that fails (--format), or report it with the model.",
        )
    (folder / MANIFEST).write_text(canonical_json(manifest) + "\n", encoding="utf-8")
    (folder / VERIFICATION).write_text(canonical_json(report.as_json()) + "\n", encoding="utf-8")
    write_card(folder, len(report.checks))
    write_checksums(folder)
    return report
