"""How the checks of numbers become those of a format that computes with fewer bits than float32. numpy only.

Every check is made as ever, with the format's own limit in the place of rounding's where that is the wider one. On the
test set the answers that changed are counted and the accuracy lost is held against what the format may lose.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace

import numpy as np

from regplug.bundles.cases import Reference
from regplug.bundles.formats import Array, Loss
from regplug.bundles.report import Check, at_most


def widened(references: Sequence[Reference], loss: Loss | None) -> list[Reference]:
    """The cases that are asked of a format, each with the limit that it is held to.

    tolerance = max(rounding's tolerance, relative_error * max|output|)

    Args:
        references: What the model puts out, `real` first.
        loss: What the format may lose; `None` for nothing.
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


def lost_classes(outputs: Array, expected: Array, targets: Array, loss: Loss) -> list[Check]:
    """What a classifier's file loses on the test set.

    Args:
        outputs: The file's `(T, C)`.
        expected: The model's own `(T, C)`.
        targets: Classes `(T,)`.
        loss: What may be lost; one changed answer always may.
    """
    rows = len(outputs)
    answers, before = outputs.argmax(1), expected.argmax(1)
    accuracy, whole = float((answers == targets).mean()), float((before == targets).mean())
    least = whole - max(loss.accuracy, 1 / rows)
    changed = int((answers != before).sum())
    detail = f"accuracy of the file on {rows} test rows; float32 has {whole:.4f}; the limit is the least allowed"
    return [
        Check(name="test_accuracy", passed=accuracy >= least, figure=accuracy, limit=least, detail=detail),
        at_most("changed_answers", changed, max(1.0, (1 - loss.agreement) * rows), f"of {rows} test rows"),
    ]


def lost_values(outputs: Array, expected: Array, targets: Array, loss: Loss) -> list[Check]:
    """What a regression's file loses on the test set.

    Args:
        outputs: The file's `(T, K)`.
        expected: The model's own `(T, K)`.
        targets: Values of as many entries.
        loss: What may be lost.
    """
    wanted = targets.reshape(outputs.shape)
    error, whole = float(np.mean((outputs - wanted) ** 2)), float(np.mean((expected - wanted) ** 2))
    detail = f"mean squared error of the file on {len(outputs)} test rows; float32 has {whole:.4g}"
    # A model that is right to the last bit has no error of which a share could be lost.
    slack = (loss.relative_error * _largest(expected)) ** 2
    return [at_most("test_mse", error, whole * (1 + loss.mse) + slack, detail)]
