"""Fits a calibration to the isolated model, and measures it on the test rows, for the manifest and the report."""

from __future__ import annotations

from typing import Any

import numpy as np
import torch

from regplug.api import Task
from regplug.bundles.calibration.answers import softmax
from regplug.bundles.calibration.fitting import (
    fit_intervals,
    fit_sets,
    fit_temperature,
    measured_intervals,
    measured_sets,
    measured_temperature,
    nll,
    nll_change_in_errors,
)
from regplug.bundles.calibration.request import Calibration
from regplug.bundles.formats import Array
from regplug.bundles.isolate import Deployed
from regplug.bundles.report import Check, at_most
from regplug.bundles.test_set import TestData, in_batches
from regplug.errors import ExportError

_MOST_ERRORS = 5.0
"""Standard errors by which the NLL on test rows may rise."""


def apply_temperature(calibration: Calibration, deployed: Deployed) -> tuple[dict[str, Any], Check]:
    """Fits the temperature and puts it into the model.

    Args:
        calibration: The validation rows.
        deployed: The isolated model; from now on it divides its logits.

    Returns:
        The manifest's part, and the check of the fit.

    Raises:
        ExportError: No temperature minimises the NLL.
    """
    inputs, targets = _rows(calibration)
    logits = _finite(_run(deployed, inputs, is_calibrated=False))
    temperature = fit_temperature(logits, targets)
    deployed.temperature = torch.tensor(temperature)
    part = {"kind": "temperature", "temperature": temperature, "rows": len(targets)}
    before, after = nll(logits, targets), nll(logits, targets, temperature)
    detail = f"NLL on {len(targets)} validation rows with temperature {temperature:.4g}; the limit is the NLL without"
    return part, at_most("calibration.fitted", after, before, detail)


def fit_conformal(
    calibration: Calibration, task: Task, deployed: Deployed, rounding: float, *, is_shares: bool
) -> tuple[dict[str, Any], Check]:
    """Fits the conformal thresholds; the model is not changed.

    Args:
        calibration: Coverage and validation rows.
        task: The task.
        deployed: The isolated model.
        rounding: Largest rounding error of its outputs.
        is_shares: Whether the outputs of a classification are probabilities, not logits.

    Returns:
        The manifest's part, and the check of the fit.
    """
    is_class = task.kind == "classification"
    inputs, targets = _rows(calibration)
    outputs = _finite(_run(deployed, inputs))
    if is_class:
        shares = outputs if is_shares else softmax(outputs)
        thresholds = [fit_sets(shares, targets, calibration.coverage)]
        covered = measured_sets(shares, targets, thresholds[0])["coverage"]
    else:
        values = targets.reshape(outputs.shape)
        thresholds = fit_intervals(outputs, values, calibration.coverage, rounding)
        covered = min(one["coverage"] for one in measured_intervals(outputs, values, thresholds))
    part = {
        "kind": "conformal",
        "method": "lac" if is_class else "absolute_residual",
        "coverage": calibration.coverage,
        "rows": len(targets),
        "thresholds": thresholds,
        "output": calibration.output_of(task),
    }
    detail = f"share of the {len(targets)} validation rows that are not covered; the limit is the promised one"
    return part, at_most("calibration.fitted", 1 - covered, 1 - calibration.coverage, detail)


def measure(part: dict[str, Any], task: Task, test: TestData, *, is_shares: bool) -> list[Check]:
    """Measures a calibration on the test rows; writes `test` into the manifest's part.

    Args:
        part: The manifest's part.
        task: The task.
        test: The test rows with the calibrated model's outputs.
        is_shares: Whether the outputs of a classification are probabilities, not logits.

    Returns:
        The check of a temperature; the coverage of a conformal calibration is checked for each file.
    """
    if part["kind"] == "conformal":
        if task.kind == "classification":
            shares = test.outputs if is_shares else softmax(test.outputs)
            part["test"] = [measured_sets(shares, test.targets, part["thresholds"][0])]
        else:
            values = test.targets.reshape(test.outputs.shape)
            part["test"] = measured_intervals(test.outputs, values, part["thresholds"])
        return []
    temperature = part["temperature"]
    logits = temperature * (np.log(np.maximum(test.outputs, 1e-38)) if is_shares else test.outputs)
    part["test"] = [measured_temperature(logits, test.targets, temperature)]
    change = nll_change_in_errors(logits, test.targets, temperature)
    detail = f"change of the NLL on {len(logits)} test rows by the temperature, in standard errors"
    return [at_most("calibration.test_nll", change, _MOST_ERRORS, detail)]


def _rows(calibration: Calibration) -> tuple[Array, Array]:
    inputs, targets = calibration.rows or ((), ())
    return np.require(inputs, requirements=["C", "W"]), np.asarray(targets)


def _run(deployed: Deployed, inputs: Array, *, is_calibrated: bool = True) -> Array:
    run = deployed if is_calibrated else deployed.uncalibrated
    with torch.no_grad():
        return in_batches(lambda rows: run(torch.from_numpy(rows)).numpy(), inputs)


def _finite(outputs: Array) -> Array:
    bad = int((~np.isfinite(outputs)).any(1).sum())
    if bad:
        raise ExportError(
            f"The model's outputs for {bad} of {len(outputs)} validation rows are NaN or infinite.",
            hint="A layer overflows or divides by zero: inspect the layers' outputs on the validation rows.",
        )
    return outputs
