"""Adapts the checks of outputs to a format that computes with fewer bits than float32. numpy only.

All checks are the same, but with the format's own limit if it is wider than the rounding tolerance. On the test set,
the number of changed predictions and the loss of accuracy are compared with the format's limits.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace

import numpy as np

from regplug.bundles.cases import Reference
from regplug.bundles.decisions import Decision
from regplug.bundles.formats import Array, Loss
from regplug.bundles.report import Check, at_most


def widened(references: Sequence[Reference], loss: Loss | None) -> list[Reference]:
    """Returns the cases that are checked for a format, each with its limit.

    tolerance = max(rounding tolerance, relative_error * max|output|)

    Args:
        references: The model's outputs, `real` first.
        loss: The format's limits; `None` for float32.
    """
    if loss is None:
        return list(references)
    return [
        replace(reference, tolerance=max(reference.tolerance, loss.relative_error * _largest(reference.outputs)))
        for reference in references
        if reference.case not in loss.not_asked
    ]


def _largest(outputs: Array) -> float:
    return float(np.abs(outputs[np.isfinite(outputs)]).max(initial=0.0))


def lost_classes(outputs: Array, expected: Array, targets: Array, loss: Loss, decision: Decision) -> list[Check]:
    """Checks how much a classifier's file loses on the test set.

    Args:
        outputs: The file's outputs `(T, C)`.
        expected: The model's own outputs `(T, C)`.
        targets: Classes `(T,)`, or labels `(T, C)`.
        loss: The format's limits; one changed prediction is always allowed.
        decision: How outputs become predictions.
    """
    rows = len(outputs)
    accuracy, whole = (float(decision.right(each, targets).mean()) for each in (outputs, expected))
    least = whole - max(loss.accuracy, 1 / rows)
    changed = int((decision.made(outputs) != decision.made(expected)).any(axis=1).sum())
    detail = f"accuracy of the file on {rows} test rows; float32 has {whole:.4f}; the limit is the least allowed"
    return [
        Check(name="test_accuracy", passed=accuracy >= least, figure=accuracy, limit=least, detail=detail),
        at_most("changed_answers", changed, max(1.0, (1 - loss.agreement) * rows), f"of {rows} test rows"),
    ]


def lost_values(outputs: Array, expected: Array, targets: Array, loss: Loss) -> list[Check]:
    """Checks how much a regression's file loses on the test set.

    Args:
        outputs: The file's outputs `(T, K)`.
        expected: The model's own outputs `(T, K)`.
        targets: Values with the same number of entries.
        loss: The format's limits.
    """
    wanted = targets.reshape(outputs.shape)
    error, whole = float(np.mean((outputs - wanted) ** 2)), float(np.mean((expected - wanted) ** 2))
    detail = f"mean squared error of the file on {len(outputs)} test rows; float32 has {whole:.4g}"
    # A perfect model has no error, so a relative increase is not defined.
    slack = (loss.relative_error * _largest(expected)) ** 2
    return [at_most("test_mse", error, whole * (1 + loss.mse) + slack, detail)]
