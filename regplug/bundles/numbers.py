"""Step 7: runs a saved file as in deployment and compares its outputs with the model's. numpy only."""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from dataclasses import replace
from pathlib import Path

import numpy as np

from regplug.bundles.cases import BATCHES, EXTREME_ROWS, LARGE, NONFINITE, REAL, VARIED, Reference
from regplug.bundles.causes import cause
from regplug.bundles.decisions import Decision
from regplug.bundles.differences import worst_error
from regplug.bundles.formats import Array, Format, Run
from regplug.bundles.losses import widened
from regplug.bundles.mixed import BRIEF_S, MIXED_SIZES, THOROUGH_S, Pool, mixed_batch, mixed_batches, sizes_of
from regplug.bundles.report import Check, at_most, holds
from regplug.bundles.splitting import open_split
from regplug.bundles.test_set import TestData, check_test

LEVELS = {"all": True, "disabled": False}
"""Name in a check -> whether the runtime's optimisation is on."""

_ROWS_ALONE = (1, 6)
_SMALL, _LARGER = range(3, 13), range(13, 97)


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
        test: The test set on which the optimised file is evaluated. Its first batch is a large one that also holds the
            rows of `references`, so a large batch of only those need not be run.
    """
    checks: list[Check] = []
    asked = widened(references, form.loss)
    for level, optimised in LEVELS.items():
        try:
            run, most = open_split(form, path, optimised=optimised), form.largest_batch(path)
        except Exception as error:
            checks.append(cannot_open(level, error))
            continue
        checks += check_run(
            run, level, asked, decision=decision, optimised=optimised, most_s=THOROUGH_S if test is None else BRIEF_S
        )
        if most is not None:
            checks.append(check_largest(run, level, asked, most))
        if test is not None and optimised:
            # A file with fewer bits may depend on the batch.
            pool = _pool_of(asked) if form.loss is None else None
            checks += check_test(run, test, pool, decision=decision, loss=form.loss)
    return checks


def cannot_open(level: str, error: BaseException) -> Check:
    """Returns the failed check of a file that its runtime cannot open, with a hint if a kernel is missing."""
    no_kernel = re.search(r"Could not find an implementation for (\w+)", str(error))
    detail = f"the runtime cannot open it: {cause(error)}"
    if no_kernel:
        detail = (
            f"the runtime has no kernel for {no_kernel[1]} with this number type: compute it in float32 "
            f"(x.float(), without torch.autocast), or leave the format out; {cause(error)}"
        )
    return holds(f"open.{level}", False, detail)


def check_run(
    run: Run,
    level: str,
    references: Sequence[Reference],
    *,
    decision: Decision | None,
    optimised: bool,
    most_s: float = THOROUGH_S,
) -> list[Check]:
    """Runs every check of outputs on an opened file.

    Args:
        run: Runs the file.
        level: Name of the runtime's optimisation.
        references: The model's outputs, `real` first.
        decision: How outputs become predictions, which are also compared; `None` for values.
        optimised: Whether the optimisation is on, as in deployment. Without it, only the first rows of each case are
            run, and mixed batches have more than a few rows only if that is fast.
        most_s: Longest time of the large mixed batch, in seconds, of an optimised file.
    """
    checks: list[Check] = []
    for reference in references if optimised else map(_first_rows, references):
        try:
            checks += _case(run, level, reference, decision=decision)
        except Exception as error:
            checks.append(holds(f"numbers.{level}.{reference.case}", False, f"the file raises: {cause(error)}"))
    pool = _pool_of(references)
    if pool is None:
        return checks
    sizes, most_s = (MIXED_SIZES, most_s) if optimised else (MIXED_SIZES[:-1], BRIEF_S)
    return [*checks, _mixed(f"mixed_batches.{level}", run, pool, sizes, most_s)]


def _pool_of(references: Sequence[Reference]) -> Pool | None:
    """Returns the rows to mix, or `None` if a format that computes with fewer bits is not checked on all of them."""
    return Pool.of(references) if {REAL, VARIED} <= {reference.case for reference in references} else None


def _first_rows(reference: Reference) -> Reference:
    return replace(reference, inputs=reference.inputs[:EXTREME_ROWS], outputs=reference.outputs[:EXTREME_ROWS])


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
        return holds(name, False, f"the file raises: {cause(raised)}")
    return at_most(name, error, pool.tolerance, f"largest difference from torch in a batch of {most} rows")


def check_other_sizes(form: Format, path: Path, references: Sequence[Reference]) -> Check:
    """Checks batches of sizes that no file can expect: each small one, and some that are drawn anew in each process.

    Args:
        form: Opens the file.
        path: The file.
        references: The model's outputs, with the cases `real` and `varied`.
    """
    name, pool = "other_sizes", Pool.of(references)
    sizes = [*_SMALL, *np.random.default_rng().choice(_LARGER, 3, replace=False)]
    try:
        run = open_split(form, path, optimised=True)
        batches = [mixed_batch(run, pool, int(size)) for size in sizes]
    except Exception as error:
        return holds(name, False, f"the file raises: {cause(error)}")
    worst = max(batches, key=lambda batch: batch.error)
    detail = f"largest difference from torch in batches of {sizes_of(batches)} rows: that of {len(worst.rows)}"
    return at_most(name, worst.error, pool.tolerance, detail)


def _mixed(name: str, run: Run, pool: Pool, sizes: Sequence[int], most_s: float) -> Check:
    """Checks that each row gets the same output in any batch."""
    try:
        batches = list(mixed_batches(run, pool, sizes=sizes, most_s=most_s))
    except Exception as error:
        return holds(name, False, f"the file raises: {cause(error)}")
    detail = f"largest difference from torch in mixed batches of {sizes_of(batches)} rows"
    return at_most(name, max(batch.error for batch in batches), pool.tolerance, detail)


def _case(run: Run, level: str, reference: Reference, *, decision: Decision | None) -> list[Check]:
    outputs = run(reference.inputs)
    name = f"numbers.{level}.{reference.case}"
    if reference.case == NONFINITE:
        return [_nonfinite(name, outputs, reference)]
    if reference.case != REAL:
        return [_extreme(name, outputs, reference)]
    firsts = {size: run(reference.inputs[:size]) for size in BATCHES if size < len(outputs)}
    firsts[len(outputs)] = outputs
    gap = worst_error(run(reference.inputs), outputs)
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
