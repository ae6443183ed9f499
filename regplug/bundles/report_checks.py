"""Compares a bundle's export report with the checks made now. numpy only."""

from __future__ import annotations

import math
from collections.abc import Collection, Mapping, Sequence
from typing import Any

from regplug.bundles.calibration.answers import conformal_part
from regplug.bundles.calibration.fitting import ALARM, Promise
from regplug.bundles.formats import parts_of
from regplug.bundles.report import Check, Report, at_most, holds
from regplug.bundles.test_set import FURTHER_ROWS

_MODEL = (
    "model.evaluation_mode",
    "model.weights_finite",
    "model.running_statistics",
    "model.batches",
    "model.hooks",
    "model.output_finite",
    "model.repeat",
    "model.row_alone",
    "model.state_unchanged",
    "model.rebuilt",
    "capture.batch_symbolic",
    "capture.training_arguments",
    "capture.no_buffer_written",
)
"""Checks of the model in every export."""

_STILL = ("capture.no_random_operator",)
_LIVE = ("model.live_dropout", "model.other_noise", "model.live_repeats_differ", "capture.random_operators")
_CALIBRATED = "calibration.fitted"
_OF_TASK = {
    "classification": ("argmax", "test_accuracy", "changed_answers"),
    "multilabel": ("labels", "test_accuracy", "changed_answers"),
    "regression": ("test_mse",),
}
_ROUNDING = 1e-6
_SUMMED_IN_FLOAT32 = 1e-4


def proven_at_export(report: Report) -> Check:
    """Checks that the export's own report passed."""
    detail = f"{len(report.checks)} checks at export, {len(report.failures)} failed"
    return holds("bundle.proven_at_export", report.passed, detail)


def told_as_made(report: Report, made: Sequence[Check], manifest: Mapping[str, Any], model_limit: float) -> list[Check]:
    """Checks that the report lists every check of such an export with its limit, and none of another task.

    Args:
        report: The export's report.
        made: The checks made now; an export makes all of them too.
        manifest: The manifest, with the task and whether dropout is live.
        model_limit: The limit of `model.row_alone`.
    """
    return _compared(report, made, manifest, _MODEL, {"model.row_alone": model_limit})


def told_as_made_named(
    report: Report,
    made: Sequence[Check],
    manifest: Mapping[str, Any],
    labels: Sequence[str],
    limits: Mapping[str, float],
) -> list[Check]:
    """Checks the same for a bundle with several inputs or outputs.

    Args:
        report: The export's report.
        made: The checks made now.
        manifest: The manifest.
        labels: Each output, and each output at each other size of the symbolic axes.
        limits: The limit of `model.row_alone` of each output.
    """
    names = {"model.output_finite", "model.repeat", "model.row_alone"}
    model = [name for name in _MODEL if name not in names]
    model += [f"{name}.{label}" for name in ("model.output_finite", "model.repeat") for label in labels]
    alone = {f"model.row_alone.{output}": limit for output, limit in limits.items()}
    return _compared(report, made, manifest, [*model, *alone], alone)


def _compared(
    report: Report,
    made: Sequence[Check],
    manifest: Mapping[str, Any],
    model: Sequence[str],
    limits: Mapping[str, float],
) -> list[Check]:
    told = {check.name: check for check in report.checks}
    wanted = {*model, *(_LIVE if manifest["stochastic"] else _STILL)}
    wanted |= {_CALIBRATED} if manifest.get("calibration") else set()
    faults = _faults(told, made, wanted)
    faults += _metric_faults(told, manifest)
    faults += _coverage_faults(told, manifest)
    of_no_file = _of_no_file(set(told) - wanted, made, manifest)
    faults += [f"{name} is of a file that is not in the bundle" for name in of_no_file]
    faults += [f"{name} belongs to another task" for name in sorted(told) if _is_of_other_task(name, manifest)]
    faults += [
        f"{name} has a different limit"
        for name, limit in limits.items()
        if not _is_near(told.get(name, at_most("", 0, limit)).limit, limit)
    ]
    return [_verdict(faults, len(wanted | {check.name for check in made}))]


def _of_no_file(told: Collection[str], made: Sequence[Check], manifest: Mapping[str, Any]) -> list[str]:
    """Returns the checks of formats that the bundle lacks: a file was removed, and its checks stayed in the report."""
    formats = {facts["format"] for facts in manifest["files"].values()}
    of_files = {rest for first, _, rest in (check.name.partition(".") for check in made) if first in formats}
    parts = {name: name.partition(".") for name in sorted(told)}
    return [name for name, (first, _, rest) in parts.items() if first not in formats and rest in of_files]


def _coverage_faults(told: Mapping[str, Check], manifest: Mapping[str, Any]) -> list[str]:
    """Returns which files were held to another coverage on the test rows than the manifest promises."""
    part = conformal_part(manifest)
    if part is None or not part.get("test"):
        return []
    each = part["test"]
    promise = Promise(rows=part["rows"], coverage=part["coverage"])
    least, smallest = promise.least(each[0]["rows"], ALARM / len(each)), min(one["coverage"] for one in each)
    found = {name: check.limit for name, check in told.items() if name.endswith(".test_coverage")}
    faults = [f"{name} has a different limit" for name, limit in found.items() if not _is_near(limit, least)]
    return faults if smallest >= least else [*faults, f"the coverage on the test rows, {smallest:.4g}, is too small"]


def _metric_faults(told: Mapping[str, Check], manifest: Mapping[str, Any]) -> list[str]:
    """Returns which files were not compared with the model's metric on the test rows, as the manifest has it.

    Of many test rows, only one float32 file gets all, so only that one can be told.
    """
    metrics = manifest.get("metrics") or ()
    exact = [facts["format"] for facts in manifest["files"].values() if "may_lose" not in facts]
    found = [
        check
        for name, check in told.items()
        if name.partition(".")[0] in exact and name.endswith((".test_accuracy", ".test_mse"))
    ]
    if not metrics or not exact:
        return []
    value, rows = metrics[0]["value"], metrics[0]["rows"]
    wrong = [each.name for each in found if each.limit is None or not _is_summed(each.limit, value)]
    if len(found) < len(exact) or (wrong if rows <= FURTHER_ROWS else len(wrong) == len(found)):
        return [f"a file was not compared with the model's {metrics[0]['name']} in the manifest, {value:.4g}"]
    return []


def _is_summed(one: float, other: float) -> bool:
    return math.isclose(one, other, rel_tol=_SUMMED_IN_FLOAT32)


def _is_of_other_task(name: str, manifest: Mapping[str, Any]) -> bool:
    """Returns whether a check is one of another task; an output may have such a name, too."""
    other = {one for parts in _OF_TASK.values() for one in parts} - set(_OF_TASK.get(manifest["task"], ()))
    outputs = {part["name"] for part in parts_of(manifest, "output")}
    return bool(set(name.split(".")) & (other - outputs))


def _faults(told: Mapping[str, Check], made: Sequence[Check], wanted: set[str]) -> list[str]:
    """Returns what differs between a report and the checks made now; `wanted` are those that only an export makes."""
    faults = [f"{name} is missing" for name in sorted((wanted | {check.name for check in made}) - set(told))]
    faults += [f"{check.name} has a different limit" for check in made if not _agrees(told.get(check.name), check)]
    return faults + [f"{name} exceeds its limit" for name in sorted(wanted) if name in told and _exceeds(told[name])]


def _verdict(faults: Sequence[str], count: int) -> Check:
    detail = "; ".join(faults[:5]) or f"{count} checks agree with the report"
    return at_most("bundle.checks_at_export", len(faults), 0, detail)


def _agrees(told: Check | None, made: Check) -> bool:
    """Returns whether a check was reported with the same limit, on the same side of it."""
    if told is None or not made.passed:
        # A check that is missing, or fails now, is reported separately.
        return True
    if not _is_near(told.limit, made.limit):
        return False
    if made.limit is None or made.figure is None or told.limit is None:
        return True
    if told.figure is None:
        return False
    if made.figure > made.limit:
        return told.figure >= told.limit
    return told.figure <= told.limit or 0 < made.limit == made.figure


def _is_near(one: float | None, other: float | None) -> bool:
    if one is None or other is None:
        return one is other
    return math.isclose(one, other, rel_tol=_ROUNDING)


def _exceeds(check: Check) -> bool:
    return check.limit is not None and (check.figure is None or check.figure > check.limit)
