"""Step 7, continued: evaluates a saved file on the test set, and compares it with the model. numpy only."""

from __future__ import annotations

from dataclasses import dataclass, replace
from itertools import pairwise

import numpy as np

from regplug.bundles.causes import cause
from regplug.bundles.decisions import Decision
from regplug.bundles.differences import worst_error
from regplug.bundles.formats import Array, Loss, Run
from regplug.bundles.losses import lost_classes, lost_values
from regplug.bundles.mixed import Pool, filled_batch
from regplug.bundles.report import Check, at_most, holds

FURTHER_ROWS = 256
"""Test rows on which further float32 files are evaluated; the first one gets all of them."""

_MODEL_BATCHES, _FILE_BATCHES = (512, 128), (211, 101)
"""Sizes of the first batch and of the others for the test set. All differ, so that outputs that depend on the batch do.

The others are small, because the system hands out and takes back the memory of large activations in every layer.
"""


@dataclass(frozen=True, kw_only=True)
class TestData:
    """The test set with the model's own outputs.

    Args:
        inputs: Raw rows `(T, ...)`.
        targets: Classes `(T,)`; labels `(T, K)`; or values `(T, K)` or `(T,)`.
        outputs: The model's outputs `(T, K)`.
        tolerance: Allowed difference of one output.
    """

    __test__ = False  # not a test, despite its name

    inputs: Array
    targets: Array
    outputs: Array
    tolerance: float

    def spread(self, count: int) -> TestData:
        """Returns so many rows, evenly spaced, or all of them if there are fewer."""
        rows = slice(None, None, max(1, len(self.inputs) // count))
        inputs, targets, outputs = (every[rows][:count].copy() for every in (self.inputs, self.targets, self.outputs))
        return replace(self, inputs=inputs, targets=targets, outputs=outputs)


def check_test(
    run: Run, test: TestData, pool: Pool | None = None, *, decision: Decision | None, loss: Loss | None = None
) -> list[Check]:
    """Evaluates the file itself on the test set and compares it with the model.

    Args:
        run: Runs the file.
        test: The test set.
        pool: Rows that are put among the first test rows, to compare their outputs in a large batch.
        decision: How outputs become predictions, to measure their accuracy; `None` for the mean squared error.
        loss: The format's limits; `None` for rounding only.
    """
    name = "test_accuracy" if decision else "test_mse"
    try:
        checks, outputs = _answers(run, test.inputs, pool)
    except Exception as error:
        return [holds(name, False, f"the file raises: {cause(error)}")]
    if loss is not None:
        if decision is None:
            return lost_values(outputs, test.outputs, test.targets, loss)
        return lost_classes(outputs, test.outputs, test.targets, loss, decision)
    return [*checks, _test_accuracy(name, outputs, test, decision) if decision else _test_mse(name, outputs, test)]


def _answers(run: Run, inputs: Array, pool: Pool | None) -> tuple[list[Check], Array]:
    """Returns the check of the pool's rows among the first test rows, if there is a pool, and all test outputs."""
    if pool is None:
        return [], in_batches(run, inputs, _FILE_BATCHES)
    batch, first = filled_batch(run, pool, inputs)
    detail = f"largest difference from torch in one batch with {len(first)} test rows"
    check, rest = at_most("among_test_rows", batch.error, pool.tolerance, detail), inputs[len(first) :]
    return [check], np.concatenate([first, in_batches(run, rest, _FILE_BATCHES)]) if len(rest) else first


def _test_accuracy(name: str, outputs: Array, test: TestData, decision: Decision) -> Check:
    accuracy, expected = (float(decision.right(each, test.targets).mean()) for each in (outputs, test.outputs))
    changed = int(decision.changed(outputs, test.outputs, test.tolerance).sum())
    detail = f"accuracy of the file on {len(outputs)} test rows, compared with torch's; {changed} predictions differ"
    return Check(name=name, passed=changed == 0, figure=accuracy, limit=expected, detail=detail)


def _test_mse(name: str, outputs: Array, test: TestData) -> Check:
    targets = test.targets.reshape(outputs.shape)
    error = worst_error(outputs, test.outputs)
    figure = float(np.mean((outputs - targets) ** 2))
    expected = float(np.mean((test.outputs - targets) ** 2))
    detail = f"mean squared error of the file on {len(outputs)} test rows, compared with torch's; off by {error:.2g}"
    return Check(name=name, passed=error <= test.tolerance, figure=figure, limit=expected, detail=detail)


def in_batches(run: Run, inputs: Array, sizes: tuple[int, int] = _MODEL_BATCHES) -> Array:
    """Runs all rows in batches.

    Args:
        run: Runs one batch.
        inputs: Raw rows `(N, ...)`.
        sizes: Rows of the first batch, and of each other one.
    """
    first, size = sizes
    starts = [0, *range(first, len(inputs), size)]
    return np.concatenate([run(inputs[start:end]) for start, end in pairwise([*starts, len(inputs)])])
