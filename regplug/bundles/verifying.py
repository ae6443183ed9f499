"""Verifies a bundle from its files alone."""

from __future__ import annotations

import contextlib
import dataclasses
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from regplug.bundles import folder_checks
from regplug.bundles.bounds import SEEDS, Perturbed
from regplug.bundles.calibration.checks import check_added_output
from regplug.bundles.cases import Reference
from regplug.bundles.clean_process import CleanProcess
from regplug.bundles.decisions import decision_of
from regplug.bundles.formats import Format
from regplug.bundles.graph import check_graph
from regplug.bundles.installed import installed_format
from regplug.bundles.layout import SAMPLE_INPUT, is_named, read_manifest, read_report, require_bundle
from regplug.bundles.mixed import Pool
from regplug.bundles.named.verifying import named_stages
from regplug.bundles.numbers import check_file, check_other_sizes
from regplug.bundles.origin import Origin, origin_checks
from regplug.bundles.report import Check, Report, at_most, holds, prefixed
from regplug.bundles.report_checks import proven_at_export, told_as_made
from regplug.bundles.rows import rows_prepared
from regplug.bundles.sample_checks import impossible_tolerances, inputs_follow, outputs_fit, tolerances_bounded
from regplug.bundles.samples import read_samples
from regplug.bundles.schema import output_kind
from regplug.bundles.stochastic.checks import check_stochastic_file, clean_check
from regplug.bundles.stochastic.record import Draws
from regplug.errors import VerificationError


class _StoppedError(Exception):
    """A check failed on which all further checks depend."""


def verify_bundle(path: Path, formats: Mapping[str, Format] | None = None, origin: Origin | None = None) -> Report:
    """Verifies a bundle: its folder, schema, checksums, samples and report, and each file's graph and outputs.

    Without `origin` this proves that the bundle is consistent, not where it comes from.

    No model file is opened before the checks of folder and samples have passed.

    Args:
        path: The bundle's folder.
        formats: Name in the manifest -> format; others are taken from the registry.
        origin: Statements from outside the bundle, which are checked first.

    Returns:
        Every check with its figure.

    Raises:
        BundleError: The path is not a bundle.
        RequestError: A format of the bundle is not installed.
    """
    path = Path(path)
    require_bundle(path)
    checks: list[Check] = []
    with contextlib.suppress(_StoppedError):
        _require([folder_checks.plain_files(path), *origin_checks(path, origin or Origin())], checks)
        _verify(path, formats or {}, checks)
    return Report(checks=tuple(checks))


def _verify(path: Path, formats: Mapping[str, Format], checks: list[Check]) -> None:
    manifest = _verify_folder(path, checks)
    report = _verify_report(path, checks)
    if is_named(manifest):
        forms = _forms(formats, manifest)
        checks += folder_checks.readme(path, manifest, len(report.checks))
        for stage in named_stages(path, manifest, report, forms, _facts(forms, manifest)):
            _require(stage, checks)
        return
    known, draws = _verify_samples(path, manifest, checks)
    checks += folder_checks.readme(path, manifest, len(report.checks))
    forms = _forms(formats, manifest)
    opened = _Opened(path, forms, is_stochastic=draws is not None)
    _require([_facts(forms, manifest), tolerances_bounded(known, draws, opened.perturbed)], checks)
    made: list[Check] = []
    for filename, form in forms.items():
        made += prefixed(manifest["files"][filename]["format"], _file(path / filename, form, manifest, known, draws))
    checks += made
    checks += told_as_made(report, made, manifest, Pool.of(known).tolerance)
    if draws is None:
        checks += _other_sizes(path, manifest, forms, known)


def _other_sizes(
    path: Path, manifest: Mapping[str, Any], forms: Mapping[str, Format], known: Sequence[Reference]
) -> list[Check]:
    """Checks further batch sizes of each float32 file; an export has not made these checks."""
    return [
        check
        for filename, form in forms.items()
        if form.loss is None
        for check in prefixed(manifest["files"][filename]["format"], [check_other_sizes(form, path / filename, known)])
    ]


def _forms(formats: Mapping[str, Format], manifest: Mapping[str, Any]) -> dict[str, Format]:
    """Returns the format of each file."""
    return {
        filename: formats.get(facts["format"]) or installed_format(facts["format"])
        for filename, facts in manifest["files"].items()
    }


def _require(found: Sequence[Check], checks: list[Check]) -> None:
    """Adds checks, and stops if one of them failed."""
    checks += found
    if not all(check.passed for check in found):
        raise _StoppedError


def _verify_folder(path: Path, checks: list[Check]) -> dict[str, Any]:
    schema = folder_checks.schema(path)
    if schema.passed:
        _require([folder_checks.sizes(path, read_manifest(path))], checks)
    _require([schema, *folder_checks.checksums(path)], checks)
    manifest = read_manifest(path)
    _require([folder_checks.contents(path, manifest)], checks)
    return manifest


def _verify_report(path: Path, checks: list[Check]) -> Report:
    try:
        report = read_report(path)
    except VerificationError as error:
        _require([holds("bundle.proven_at_export", False, error.message)], checks)
        raise
    _require([proven_at_export(report)], checks)
    return report


def _verify_samples(path: Path, manifest: dict[str, Any], checks: list[Check]) -> tuple[list[Reference], Draws | None]:
    try:
        known, draws = read_samples(path, manifest)
    except VerificationError as error:
        _require([holds("samples.arrays", False, error.message)], checks)
        raise
    checks.append(holds("samples.arrays", True, f"{len(known)} cases"))
    _require(impossible_tolerances(known, draws), checks)
    _require([inputs_follow(known, manifest), outputs_fit(known, draws, output_kind(manifest))], checks)
    _require(rows_prepared(manifest, known[0].inputs), checks)
    return known, draws


class _Opened:
    """The files whose rounding can be measured.

    Args:
        path: The bundle's folder.
        forms: The format of each file.
        is_stochastic: Whether the files are stochastic.
    """

    def __init__(self, path: Path, forms: Mapping[str, Format], *, is_stochastic: bool) -> None:
        self._path, self._forms, self._is_stochastic = path, forms, is_stochastic

    def perturbed(self) -> list[Perturbed]:
        """Opens each float32 file that can be perturbed."""
        if self._is_stochastic:
            return []
        whole = {name: form for name, form in self._forms.items() if form.loss is None}
        found = [self._one(form, self._path / name) for name, form in whole.items()]
        return [one for one in found if one is not None]

    def _one(self, form: Format, path: Path) -> Perturbed | None:
        try:
            runs = [form.open_perturbed(path, seed=seed) for seed in SEEDS]
            plain = form.open(path, optimised=False)
        except Exception:
            # The checks of the file report what is wrong with it.
            return None
        moved = [run for run in runs if run is not None]
        return Perturbed(plain=plain, moved=moved) if moved else None


def _facts(forms: Mapping[str, Format], manifest: Mapping[str, Any]) -> Check:
    """Checks that the manifest's entry of each file agrees with its format, including its limits."""
    faults = []
    for filename, form in forms.items():
        facts = manifest["files"][filename]
        faults += [f"{filename} has no {name}" for name in sorted(set(form.facts()) - set(facts))]
        if facts.get("weights") != form.facts().get("weights"):
            faults.append(f"weights of {filename} are not in the file that its format writes")
        if facts.get("may_lose") != (None if form.loss is None else dataclasses.asdict(form.loss)):
            faults.append(f"may_lose of {filename} differs from its format's limits")
    return at_most("bundle.facts", len(faults), 0, "; ".join(faults) or f"{len(forms)} files agree with their formats")


def _file(
    path: Path, form: Format, manifest: dict[str, Any], known: Sequence[Reference], draws: Draws | None
) -> list[Check]:
    checks, decision = check_graph(form, path, manifest), decision_of(manifest["task"], manifest["output"]["name"])
    if draws is None:
        checks += check_file(form, path, known, decision=decision)
        checks += check_added_output(form, path, known, manifest)
    else:
        layers = manifest["stochastic"]["layers"]
        checks += check_stochastic_file(form, path, known, draws, layers, decision=decision)
    program = form.standalone()
    if program is not None:
        samples = path.with_name(SAMPLE_INPUT)
        with CleanProcess(program, path, samples, manifest["input"]["name"]) as process:
            checks.append(clean_check(process, form, path, known, manifest))
    return checks
