"""Checks that a saved file's prediction sets or intervals follow from its own outputs. numpy only."""

from __future__ import annotations

import functools
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np

from regplug.bundles.calibration.answers import INTERVALS, SETS, added_answers, conformal_part, softmax
from regplug.bundles.calibration.fitting import ALARM, Promise, of_targets
from regplug.bundles.cases import Reference
from regplug.bundles.causes import cause
from regplug.bundles.formats import Array, Format, Loss, RunAll
from regplug.bundles.losses import widened
from regplug.bundles.numbers import LEVELS
from regplug.bundles.report import Check, at_most, holds
from regplug.bundles.schema import output_kind
from regplug.bundles.splitting import open_outputs_split
from regplug.bundles.test_set import TestData, in_batches

_NEAR = 1e-4
"""Relative distance from the threshold within which a class may be in a set or not, because of rounding."""

_LAST_BITS = 4 * float(np.finfo(np.float32).eps)


def check_added_output(
    form: Format, path: Path, known: Sequence[Reference], manifest: Mapping[str, Any], test: TestData | None = None
) -> list[Check]:
    """Compares the output that a conformal calibration adds with the file's first output, on every case.

    Args:
        form: Opens the file.
        path: The file.
        known: The cases.
        manifest: The manifest with the thresholds.
        test: The test set, on which the file's own coverage is compared with what was promised.

    Returns:
        No check for a bundle without such an output.
    """
    checks: list[Check] = []
    for level, optimised in LEVELS.items():
        opened = functools.cache(functools.partial(open_outputs_split, form, path, optimised=optimised))
        checks += added_output(opened, level, form.loss, known, manifest)
        if test is not None and optimised:
            checks += added_coverage(opened, test, manifest)
    return checks


def added_output(
    opened: Callable[[], RunAll], label: str, loss: Loss | None, known: Sequence[Reference], manifest: Mapping[str, Any]
) -> list[Check]:
    """Compares the added output with the first one.

    Args:
        opened: Opens the file, whose first two outputs are the first one and the added one.
        label: What the check is named after, besides the output.
        loss: Limits of the format.
        known: The cases.
        manifest: The manifest with the thresholds.

    Returns:
        No check for a bundle without such an output.
    """

    def follows(name: str, part: Mapping[str, Any]) -> Check:
        run = opened()
        wrong = sum(_wrong(run(one.inputs), loss, manifest, part) for one in widened(known, loss))
        return at_most(name, wrong, 0, f"{part['output']['name']} that do not follow from the file's own outputs")

    return _checked(label, manifest, follows)


def added_coverage(opened: Callable[[], RunAll], test: TestData, manifest: Mapping[str, Any]) -> list[Check]:
    """Compares the share of test rows that the added output covers with what was promised.

    Args:
        opened: As for `added_output`.
        test: The test rows.
        manifest: The manifest with the thresholds.

    Returns:
        No check for a bundle without such an output.
    """
    return _checked("test_coverage", manifest, lambda name, part: _coverage(name, opened(), test, part))


def _checked(label: str, manifest: Mapping[str, Any], check: Callable[[str, Mapping[str, Any]], Check]) -> list[Check]:
    """Makes a check of the added output from its name and the calibration; it fails if the file raises an error."""
    part = conformal_part(manifest)
    if part is None:
        return []
    name = f"{part['output']['name']}.{label}"
    try:
        return [check(name, part)]
    except Exception as error:
        return [holds(name, False, f"the file raises: {cause(error)}")]


def _wrong(answers: Sequence[Array], loss: Loss | None, manifest: Mapping[str, Any], part: Mapping[str, Any]) -> int:
    """Returns how many entries of the added output are wrong in rows with finite outputs."""
    outputs, added = answers
    if added.shape != (len(outputs), *part["output"]["shape"][1:]) or str(added.dtype) != part["output"]["dtype"]:
        return added.size or 1
    is_finite = np.isfinite(outputs).all(1)
    outputs, added = outputs[is_finite], added[is_finite]
    lost = loss.relative_error if loss else 0.0
    if part["output"]["name"] == INTERVALS:
        wanted = added_answers(outputs, part)
        scale = np.abs(wanted).max(initial=0.0)
        return int((np.abs(added.astype(np.float64) - wanted) > max(lost, _LAST_BITS) * scale).sum())
    shares = softmax(outputs) if output_kind(manifest) == "logits" else outputs
    threshold = part["thresholds"][0]
    is_clear = np.abs(shares - threshold) > max(lost, _NEAR * threshold)
    return int(((added != added_answers(shares, part)) & is_clear).sum())


def _coverage(name: str, run: RunAll, test: TestData, part: Mapping[str, Any]) -> Check:
    """Checks that the file covers the targets of test rows as often as exchangeable rows would be covered."""
    added = in_batches(lambda rows: run(rows)[1], test.inputs)
    promise = Promise(rows=part["rows"], coverage=part["coverage"])
    if part["output"]["name"] == SETS:
        covered_BK = of_targets(added, test.targets)[:, None]
    else:
        targets_BK = test.targets.reshape(added.shape[:2])
        covered_BK = (added[..., 0] <= targets_BK) & (targets_BK <= added[..., 1])
    coverage = float(covered_BK.mean(0).min())
    least = promise.least(len(added), ALARM / covered_BK.shape[1])
    detail = (
        f"smallest coverage on {len(added)} test rows, with {part['coverage']:g} promised; the limit is the least that "
        "rows like the validation rows have"
    )
    return Check(name=name, passed=coverage >= least, figure=coverage, limit=least, detail=detail)
