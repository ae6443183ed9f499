"""The predictions of the test rows as a table."""

from __future__ import annotations

import csv
import io
from typing import Any

import numpy as np
from numpy.typing import NDArray

from regplug.api import Task
from regplug.measuring.metrics import label_probabilities, probabilities


def predictions_csv(outputs_BK: NDArray[Any], targets: NDArray[Any], task: Task) -> str:
    """Returns a csv with a line for each row: its number, its target and the prediction.

    Classification: columns `row`, `label`, `prediction` and `probability of <class>`. Multilabel: `row`, then for each
    label its name, `prediction of <label>` and `probability of <label>`. Regression: `row`, then
    `target` and `prediction`, numbered if there are several.

    Args:
        outputs_BK: Logits or values `(B, K)`.
        targets: Classes int `(B,)`, or values `(B, K)`.
        task: The task.
    """
    text = io.StringIO()
    writer = csv.writer(text, lineterminator="\n")
    if task.is_classification:
        names = task.class_names or tuple(str(label) for label in range(task.num_outputs))
        probability_BK = probabilities(outputs_BK)
        writer.writerow(["row", "label", "prediction", *(f"probability of {name}" for name in names)])
        for row, (label, own) in enumerate(zip(targets, probability_BK, strict=True)):
            writer.writerow([row, names[int(label)], names[int(own.argmax())], *(f"{each:.6g}" for each in own)])
        return text.getvalue()
    if task.is_multilabel:
        parts = [(name, f"prediction of {name}", f"probability of {name}") for name in task.class_names]
        writer.writerow(["row", *(name for part in parts for name in part)])
        for row, (labels, own) in enumerate(zip(targets, label_probabilities(outputs_BK), strict=True)):
            cells = ((int(label), int(each > 0.5), f"{each:.6g}") for label, each in zip(labels, own, strict=True))
            writer.writerow([row, *(cell for part in cells for cell in part)])
        return text.getvalue()
    ends = [""] if task.num_outputs == 1 else [f" {column}" for column in range(task.num_outputs)]
    writer.writerow(["row", *(f"{name}{end}" for name in ("target", "prediction") for end in ends)])
    for row, (target, value) in enumerate(zip(np.asarray(targets), outputs_BK, strict=True)):
        writer.writerow([row, *(f"{each:.9g}" for each in (*target, *value))])
    return text.getvalue()
