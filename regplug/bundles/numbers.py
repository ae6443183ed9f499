"""Step 7: runs a saved file as in deployment and compares its outputs with the model's. numpy only."""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from itertools import pairwise
from pathlib import Path

import numpy as np

from regplug.bundles.cases import BATCHES, LARGE, NONFINITE, REAL, REAL_ROWS, VARIED, Reference
from regplug.bundles.causes import cause
from regplug.bundles.decisions import Decision
from regplug.bundles.formats import Array, Format, Loss, Run
from regplug.bundles.losses import lost_classes, lost_values, widened
from regplug.bundles.mixed import Pool, mixed_batch, mixed_batches, sizes_of
from regplug.bundles.report import Check, at_most, holds
from regplug.bundles.splitting import open_split

LEVELS = {"all": True, "disabled": False}
"""Name in a check -> whether the runtime's optimisation is on."""

_ROWS_ALONE = (1, 6)
_REPEATED_ROWS = 7
_MODEL_BATCHES, _FILE_BATCHES = (512, 128), (211, 101)
"""Sizes of the first batch and of the others for the test set. All differ, so that outputs that depend on the batch do.

The others are small, because the system hands out and takes back the memory of large activations in every layer.
"""


def check_file(
    form: Format,
    path: Path,
    references: Sequence[Reference],
    *,
    decision: Decision | None,
    test: TestData | None = None,
) -> list[Check]:
    """Runs every check of outputs on a saved file, with optimisation on and off.

    Args:
        form: Opens the file.
        path: The file.
        references: The model's outputs, `real` first.
        decision: How outputs become predictions, which are also compared; `None` for values.
        test: The test set on which the optimised file is evaluated.
    """
    checks: list[Check] = []
    asked = widened(references, form.loss)
    for level, optimised in LEVELS.items():
        try:
            run, most = open_split(form, path, optimised=optimised), form.largest_batch(path)
        except Exception as error:
            checks.append(cannot_open(level, error))
            continue
        checks += check_run(run, level, asked, decision=decision, optimised=optimised)
        if most is not None:
            checks.append(check_largest(run, level, asked, most))
        if test is not None and optimised:
            checks += check_test(run, test, decision=decision, loss=form.loss)
    return checks


def cannot_open(level: str, error: BaseException) -> Check:
    """Returns the failed check of a file that its runtime cannot open, with a hint if a kernel is missing."""
    no_kernel = re.search(r"Could not find an implementation for (\w+)", str(error))
    detail = f"the runtime cannot open it: {_line(error)}"
    if no_kernel:
        detail = (
            f"the runtime has no kernel for {no_kernel[1]} with this number type: compute it in float32 "
            f"(x.float(), without torch.autocast), or leave the format out; {_line(error)}"
        )
    return holds(f"open.{level}", False, detail)


def check_run(
    run: Run, level: str, references: Sequence[Reference], *, decision: Decision | None, optimised: bool
) -> list[Check]:
    """Runs every check of outputs on an opened file.

    Args:
        run: Runs the file.
        level: Name of the runtime's optimisation.
        references: The model's outputs, `real` first.
        decision: How outputs become predictions, which are also compared; `None` for values.
        optimised: Whether the optimisation is on. Without it, fewer rows are repeated, 64 are not mixed, and the large
            batch is smaller if it would take long.
    """
    checks: list[Check] = []
    for reference in references:
        try:
            checks += _case(run, level, reference, decision=decision, optimised=optimised)
        except Exception as error:
            checks.append(holds(f"numbers.{level}.{reference.case}", False, f"the file raises: {_line(error)}"))
    if not {REAL, VARIED} <= {reference.case for reference in references}:
        # Some cases may not be checked for a format that computes with fewer bits.
        return checks
    return [*checks, _mixed(f"mixed_batches.{level}", run, Pool.of(references), is_brief=not optimised)]


def check_largest(run: Run, level: str, references: Sequence[Reference], most: int) -> Check:
    """Checks a file that takes only so many rows at its largest batch.

    Args:
        run: Runs the file.
        level: Name of the runtime's optimisation.
        references: The model's outputs, with the cases `real` and `varied`.
        most: The largest batch.
    """
    name, pool = f"largest_batch.{level}", Pool.of(references)
    try:
        error = mixed_batch(run, pool, most).error
    except Exception as raised:
        return holds(name, False, f"the file raises: {_line(raised)}")
    return at_most(name, error, pool.tolerance, f"largest difference from torch in a batch of {most} rows")


def _mixed(name: str, run: Run, pool: Pool, *, is_brief: bool) -> Check:
    """Checks that each row gets the same output in any batch."""
    try:
        # A batch of 64 rows has been run already, in another order; without optimisation it may take six times as long.
        sizes = [size for size in BATCHES if size != REAL_ROWS] if is_brief else BATCHES
        batches = list(mixed_batches(run, pool, sizes=sizes, is_brief=is_brief))
    except Exception as error:
        return holds(name, False, f"the file raises: {_line(error)}")
    detail = f"largest difference from torch in mixed batches of {sizes_of(batches)} rows"
    return at_most(name, max(batch.error for batch in batches), pool.tolerance, detail)


def _case(run: Run, level: str, reference: Reference, *, decision: Decision | None, optimised: bool) -> list[Check]:
    outputs = run(reference.inputs)
    name = f"numbers.{level}.{reference.case}"
    if reference.case == NONFINITE:
        return [_nonfinite(name, outputs, reference)]
    if reference.case != REAL:
        return [_extreme(name, outputs, reference)]
    firsts = {size: run(reference.inputs[:size]) for size in BATCHES if size < len(outputs)}
    firsts[len(outputs)] = outputs
    again = len(outputs) if optimised else min(_REPEATED_ROWS, len(outputs))
    gap = worst_error(run(reference.inputs[:again]), firsts[again])
    checks = [
        _numbers(name, firsts, reference),
        at_most(f"repeat.{level}", gap, 0.0, "largest difference of a repeat"),
        _row_alone(f"row_alone.{level}", run, firsts, reference),
    ]
    return [*checks, _predictions(level, outputs, reference, decision)] if decision else checks


def _numbers(name: str, firsts: Mapping[int, Array], reference: Reference) -> Check:
    error = max(worst_error(outputs, reference.outputs[:size]) for size, outputs in firsts.items())
    detail = f"largest difference from torch at batch {', '.join(map(str, firsts))}"
    return at_most(name, error, reference.tolerance, detail)


def _extreme(name: str, outputs: Array, reference: Reference) -> Check:
    """Checks that the file's outputs equal the model's, including where they are not finite."""
    error, detail = worst_error(outputs, reference.outputs), "largest difference from torch"
    answered = np.isfinite(outputs) & ~np.isfinite(reference.outputs)
    # On overflow, one operator more or less can turn the largest float into infinity.
    if answered.all() if reference.case == LARGE else answered.any():
        return at_most(
            name, float("inf"), reference.tolerance, f"{answered.sum()} finite outputs where torch's are not finite"
        )
    return at_most(name, error, reference.tolerance, detail)


def _nonfinite(name: str, outputs: Array, reference: Reference) -> Check:
    error = worst_error(outputs[2:], reference.outputs[2:])
    swallowed = int((np.isnan(reference.outputs[:2]) & np.isfinite(outputs[:2])).any(1).sum())
    detail = "NaN and infinity do not change the other rows"
    if swallowed:
        # onnxruntime's max pooling skips NaN. No file can avoid that, so it is reported but not a failure.
        detail += f"; in {swallowed} rows torch gives NaN and the file a number"
    return at_most(name, error, reference.tolerance, detail)


def _predictions(level: str, outputs: Array, reference: Reference, decision: Decision) -> Check:
    wrong = int(decision.changed(outputs, reference.outputs, reference.tolerance).sum())
    return at_most(
        f"{decision.check_name}.{level}", wrong, 0, "rows with another prediction than torch's, except near ties"
    )


def _row_alone(name: str, run: Run, firsts: Mapping[int, Array], reference: Reference) -> Check:
    outputs = firsts[max(firsts)]
    rows = [row for row in _ROWS_ALONE if row < len(outputs)]
    alone = {0: firsts[1], **{row: run(reference.inputs[row : row + 1]) for row in rows}}
    error = max(worst_error(output, outputs[row : row + 1]) for row, output in alone.items())
    return at_most(name, error, reference.tolerance, "largest difference between a row alone and in a batch")


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


def check_test(run: Run, test: TestData, *, decision: Decision | None, loss: Loss | None = None) -> list[Check]:
    """Evaluates the file itself on the test set and compares it with the model.

    Args:
        run: Runs the file.
        test: The test set.
        decision: How outputs become predictions, to measure their accuracy; `None` for the mean squared error.
        loss: The format's limits; `None` for rounding only.
    """
    name = "test_accuracy" if decision else "test_mse"
    try:
        outputs = in_batches(run, test.inputs, _FILE_BATCHES)
    except Exception as error:
        return [holds(name, False, f"the file raises: {_line(error)}")]
    if loss is not None:
        if decision is None:
            return lost_values(outputs, test.outputs, test.targets, loss)
        return lost_classes(outputs, test.outputs, test.targets, loss, decision)
    return [_test_accuracy(name, outputs, test, decision) if decision else _test_mse(name, outputs, test)]


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


def worst_error(got: Array, want: Array) -> float:
    """Returns the largest absolute difference where the model's own output is finite; infinite for different shapes.

    >>> worst_error(np.array([1.0, 7.0]), np.array([1.5, np.nan]))
    0.5
    >>> worst_error(np.array([1.0, np.nan]), np.array([1.5, 2.0]))
    inf
    """
    if got.shape != want.shape:
        return float("inf")
    finite = np.isfinite(want)
    if not np.isfinite(got[finite]).all():
        return float("inf")
    return float(np.abs(got[finite].astype(np.float64) - want[finite]).max(initial=0.0))


def _line(error: BaseException) -> str:
    return cause(error)
