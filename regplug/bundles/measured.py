"""Metrics of the model on the test rows, with intervals, for the manifest."""

from __future__ import annotations

from typing import Any

import numpy as np

from regplug.bundles.formats import Array

CONFIDENCE = 0.95
_QUANTILE = 1.959964
"""97.5 % quantile of the normal distribution."""


def measured_metrics(outputs_BK: Array, targets: Array, task: str, threshold: float) -> list[dict[str, Any]]:
    """Returns the mean of a metric over test rows with its 95 % interval.

    Accuracy has Wilson's interval, other metrics the normal one.

    Args:
        outputs_BK: Logits, probabilities or values `(B, K)`.
        targets: Classes `(B,)`, labels of 0 and 1 `(B, K)`, or values `(B, K)` or `(B,)`.
        task: `classification`, `multilabel` or `regression`.
        threshold: Output above which a label is present.
    """
    if task == "classification":
        right = int((outputs_BK.argmax(1) == targets).sum())
        from regplug.measuring.metrics import wilson_interval

        return [_metric("accuracy", right / len(targets), wilson_interval(right, len(targets)), len(targets))]
    values_BK = np.asarray(targets, np.float64).reshape(outputs_BK.shape)
    if task == "multilabel":
        return [_mean("label_accuracy", ((outputs_BK > threshold) == (values_BK > 0.5)).mean(1))]
    gaps_BK = outputs_BK.astype(np.float64) - values_BK
    return [_mean("mse", np.square(gaps_BK).mean(1)), _mean("mae", np.abs(gaps_BK).mean(1))]


def _mean(name: str, values_B: Array) -> dict[str, Any]:
    mean, rows = float(values_B.mean()), len(values_B)
    half = _QUANTILE * float(values_B.std(ddof=1)) / rows**0.5 if rows > 1 else 0.0
    return _metric(name, mean, (max(0.0, mean - half), mean + half), rows)


def _metric(name: str, value: float, interval: tuple[float, float], rows: int) -> dict[str, Any]:
    low, high = interval
    return {
        "name": name,
        "value": value,
        "low": float(low),
        "high": float(high),
        "confidence": CONFIDENCE,
        "rows": rows,
    }
