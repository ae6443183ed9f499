"""Verifies a bundle with several inputs or outputs from its files alone."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np

from regplug.bundles.bounds import most_given_tolerance
from regplug.bundles.cases import REAL
from regplug.bundles.clean_process import CleanProcess
from regplug.bundles.formats import Format
from regplug.bundles.layout import SAMPLE_INPUT
from regplug.bundles.mixed import Pool
from regplug.bundles.named.axes import with_checked
from regplug.bundles.named.cases import sized_rows, wrong_cases
from regplug.bundles.named.checking import check_named_file, clean_named_check, opened_named
from regplug.bundles.named.live import joined_real
from regplug.bundles.named.samples import Setting, read_named_samples
from regplug.bundles.named.signature import Signature
from regplug.bundles.report import Check, Report, at_most, holds, prefixed
from regplug.bundles.report_checks import told_as_made_named
from regplug.bundles.sample_checks import impossible_tolerances, outputs_fit, tolerances_bounded
from regplug.bundles.schema import output_kind
from regplug.bundles.stochastic.record import Draws, stochastic_part
from regplug.errors import VerificationError


def named_stages(
    path: Path, manifest: dict[str, Any], report: Report, forms: dict[str, Format], facts: Check
) -> Iterator[list[Check]]:
    """Yields the checks in stages; a stage is only sound if every earlier one has passed.

    Args:
        path: The bundle's folder, whose schema and checksums have been checked.
        manifest: Its manifest.
        report: The export's report.
        forms: File name -> format.
        facts: The check of the manifest's entries of the files.
    """
    signature = Signature.from_manifest(manifest)
    try:
        settings, draws = read_named_samples(path, signature, stochastic_part(manifest))
    except VerificationError as error:
        yield [holds("samples.arrays", False, error.message)]
        return
    yield [holds("samples.arrays", True, f"{len(settings[0].inputs)} cases, {len(settings)} sizes")]
    yield [
        check
        for setting in settings
        for known in setting.known.values()
        for check in impossible_tolerances(known, draws if setting.at == 0 else None)
    ]
    yield [_sizes_follow(signature), _inputs_follow(settings, signature), *_outputs_fit(settings, draws, manifest)]
    yield [facts, *_tolerances(path, manifest, signature, settings, forms), *_live_tolerance(settings, draws)]
    made: list[Check] = []
    for filename, form in forms.items():
        found = _file(path / filename, form, manifest, signature, settings, draws)
        made += prefixed(manifest["files"][filename]["format"], found)
    limits = {part.name: Pool.of(settings[0].known[part.name]).tolerance for part in signature.outputs}
    labels = [_label(part.name, setting) for part in signature.outputs for setting in settings]
    yield [*made, *told_as_made_named(report, made, manifest, labels, limits)]


def _label(output: str, setting: Setting) -> str:
    return f"{output}.{setting.label}" if setting.label else output


def _sizes_follow(signature: Signature) -> Check:
    """Checks that the sizes of the symbolic axes are those at which such ranges are checked."""
    wanted = with_checked(signature.axes, signature.settings[0])
    wrong = [axis.name for axis, other in zip(signature.axes, wanted, strict=True) if axis != other]
    return at_most("samples.sizes", len(wrong), 0, f"axes checked at other sizes: {', '.join(wrong) or 'none'}")


def _inputs_follow(settings: Sequence[Setting], signature: Signature) -> Check:
    """Checks that the inputs of every case and size can be derived from the real rows and the declared ranges."""
    real = settings[0].inputs[REAL]
    if any(array.dtype.kind == "f" and not np.isfinite(array).all() for array in real.values()):
        return holds("samples.inputs", False, "the real rows contain NaN or infinity")
    wrong = wrong_cases(settings[0].inputs, signature.inputs)
    for setting in settings[1:]:
        wanted = sized_rows(real, signature.inputs, setting.sizes)
        found = setting.inputs[REAL]
        wrong += [f"{name} at {setting.label}" for name in wanted if not np.array_equal(found[name], wanted[name])]
    return at_most("samples.inputs", len(wrong), 0, f"wrong inputs: {', '.join(wrong[:10]) or 'none'}")


def _outputs_fit(settings: Sequence[Setting], draws: Draws | None, manifest: Mapping[str, Any]) -> Iterator[Check]:
    first = manifest["outputs"][0]["name"]
    for setting in settings:
        for output, known in setting.known.items():
            check = outputs_fit(known, draws, output_kind(manifest) if output == first else "")
            yield Check(name=f"{check.name}.{_label(output, setting)}", passed=check.passed, detail=check.detail)


def _tolerances(
    path: Path,
    manifest: dict[str, Any],
    signature: Signature,
    settings: Sequence[Setting],
    forms: Mapping[str, Format],
) -> Iterator[Check]:
    for setting in settings:
        for output, known in setting.known.items():
            opened = partial(opened_named, forms, path, manifest, signature, setting.sizes, output)
            check = tolerances_bounded(known, None, opened)
            yield at_most(
                f"{check.name}.{_label(output, setting)}", check.figure or 0.0, check.limit or 1.0, check.detail
            )


def _live_tolerance(settings: Sequence[Setting], draws: Draws | None) -> list[Check]:
    """Checks the tolerance of the outputs with live dropout, which are side by side."""
    if draws is None:
        return []
    real = joined_real(settings[0])
    most = most_given_tolerance(draws.given, real)
    share = draws.given.tolerance / most if most else float(draws.given.tolerance > 0)
    return [at_most("samples.tolerances.given", share, 1.0, "tolerance with live dropout relative to its maximum")]


def _file(
    path: Path,
    form: Format,
    manifest: dict[str, Any],
    signature: Signature,
    settings: Sequence[Setting],
    draws: Draws | None,
) -> list[Check]:
    checks = check_named_file(form, path, manifest, signature, settings, draws)
    program = form.standalone()
    if program is not None:
        samples = path.with_name(SAMPLE_INPUT)
        with CleanProcess(program, path, samples, "") as process:
            checks.append(clean_named_check(process, form, path, signature, settings[0], manifest))
    return checks
