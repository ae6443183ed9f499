"""A bundle proven again, from its files alone."""

from __future__ import annotations

import json
import re
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from regplug.bundles.cases import Reference
from regplug.bundles.clean_process import CleanProcess
from regplug.bundles.formats import Format
from regplug.bundles.graph import check_graph
from regplug.bundles.layout import (
    CHECKSUMS,
    MANIFEST,
    SAMPLE_INPUT,
    SAMPLE_OUTPUT,
    VERIFICATION,
    changed,
    read_checksums,
    read_manifest,
    require_bundle,
)
from regplug.bundles.numbers import check_file
from regplug.bundles.report import Check, Report, at_most, holds, prefixed
from regplug.bundles.samples import read_samples
from regplug.bundles.stochastic.checks import check_stochastic_file, clean_check
from regplug.bundles.stochastic.record import read_draws, stochastic_part
from regplug.config.spec import ComponentSpec
from regplug.errors import BundleError, VerificationError
from regplug.registry import build, default_registry

_PLAIN_NAME = re.compile(r"(?:(?P<distribution>[\w.-]+)/)?(?P<name>[a-z][a-z0-9_-]*)")


def verify_bundle(path: Path, formats: Mapping[str, Format] | None = None) -> Report:
    """Proves a bundle again: checksums, schema, the manifests inside the files, the graphs, the numbers.

    No model file is opened before the checksums hold.

    Args:
        path: The bundle's folder.
        formats: Formats by the name in the manifest; what is not given here is taken from the registry.

    Returns:
        Every check with its figure; it has not passed where one of them does not hold.

    Raises:
        BundleError: The path is no bundle.
        RequestError: A format of the bundle is not installed.
    """
    path = Path(path)
    require_bundle(path)
    checks = [_schema(path), *_unchanged(path)]
    if not all(check.passed for check in checks):
        return Report(checks=tuple(checks))
    manifest = read_manifest(path)
    checks += _contents(path, manifest)
    if not all(check.passed for check in checks):
        return Report(checks=tuple(checks))
    for filename, facts in manifest["files"].items():
        form = (formats or {}).get(facts["format"]) or _installed(facts["format"])
        checks += prefixed(facts["format"], _file(path, filename, form, manifest))
    return Report(checks=tuple(checks))


def _schema(path: Path) -> Check:
    try:
        manifest = read_manifest(path)
    except (VerificationError, BundleError) as error:
        return holds("bundle.schema", False, error.message)
    return holds("bundle.schema", True, f"schema version {manifest['schema_version']}")


def _unchanged(path: Path) -> list[Check]:
    try:
        sums = read_checksums(path)
    except (VerificationError, BundleError) as error:
        return [holds("bundle.checksums", False, error.message)]
    faults = [reason for name in sorted(sums) if (reason := changed(path, name, sums))]
    there = {entry.name for entry in path.iterdir()} - {CHECKSUMS}
    extra = sorted(there - set(sums))
    return [
        at_most("bundle.checksums", len(faults), 0, " ".join(faults) or f"{len(sums)} files as they were proven"),
        at_most("bundle.no_extra_file", len(extra), 0, ", ".join(extra) or "no file beside the proven ones"),
    ]


def _contents(path: Path, manifest: Mapping[str, Any]) -> list[Check]:
    """The checksums cover what the contract asks for, and the export's own report says that it passed."""
    files = manifest.get("files")
    if not isinstance(files, dict) or not files or not {"input", "output", "task"} <= set(manifest):
        return [holds("bundle.contents", False, f"{MANIFEST} names no files, input, output or task")]
    missing = sorted({*files, VERIFICATION, SAMPLE_INPUT, SAMPLE_OUTPUT} - set(read_checksums(path)))
    contents = at_most("bundle.contents", len(missing), 0, f"missing: {', '.join(missing)}" if missing else "complete")
    return [contents] if missing else [contents, _proven_at_export(path)]


def _proven_at_export(path: Path) -> Check:
    try:
        report = Report.from_json(json.loads((path / VERIFICATION).read_bytes()))
    except (ValueError, KeyError, TypeError) as error:
        return holds("bundle.proven_at_export", False, f"{VERIFICATION} cannot be read: {error}")
    detail = f"{len(report.checks)} checks at export, {len(report.failures)} failed"
    return holds("bundle.proven_at_export", report.passed, detail)


def _file(path: Path, filename: str, form: Format, manifest: dict[str, Any]) -> list[Check]:
    checks = check_graph(form, path / filename, manifest)
    try:
        known = read_samples(path, manifest["input"]["name"], manifest["output"]["name"])
    except VerificationError as error:
        return [*checks, holds("samples", False, error.message)]
    checks += _numbers(path, filename, form, manifest, known)
    program = form.standalone()
    if program is not None:
        with CleanProcess(program, path / filename, path / SAMPLE_INPUT, manifest["input"]["name"]) as process:
            checks.append(clean_check(process, form, path / filename, known, manifest))
    return checks


def _numbers(
    path: Path, filename: str, form: Format, manifest: dict[str, Any], known: Sequence[Reference]
) -> list[Check]:
    classes, part = manifest["task"] == "classification", stochastic_part(manifest)
    if part is None:
        return check_file(form, path / filename, known, classes=classes)
    try:
        draws = read_draws(path, manifest["output"]["name"], known[0])
    except VerificationError as error:
        return [holds("samples", False, error.message)]
    return check_stochastic_file(form, path / filename, known, draws, part["layers"], classes=classes)


def _installed(name: str) -> Format:
    """Finds an installed format; a name from a manifest never makes the host import code by path."""
    match = _PLAIN_NAME.fullmatch(name)
    if match is None:
        raise BundleError(
            f"The format {name!r} is the user's own code, which a bundle cannot bring along.",
            hint="Verify it from Python: verify_bundle(path, formats={name: the format object}).",
        )
    spec = ComponentSpec(name=match["name"], distribution=match["distribution"])
    form: Format = build(default_registry().find("format", spec), {})
    return form
