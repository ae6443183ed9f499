"""Step 2, continued: checks in torch, on different rows, that a row gets the same output alone and in any batch."""

from __future__ import annotations

from collections.abc import Callable, Sequence

import numpy as np
import torch
from torch import Tensor

from regplug.bundles.blame import where_they_part
from regplug.bundles.cases import Reference
from regplug.bundles.formats import Array
from regplug.bundles.isolate import Deployed
from regplug.bundles.mixed import Mixed, Pool, compared, mixed_batches, sizes_of
from regplug.bundles.report import Check, at_most
from regplug.errors import ExportError, RequestError

_ROWS_ALONE = (0, 1, 6, 63, 64, 96)


def rows_alone(deployed: Deployed, known: Sequence[Reference]) -> Check:
    """Checks that a row gets the same output alone and in any batch, up to rounding.

    Args:
        deployed: The isolated model.
        known: Its outputs, including the cases `real` and `varied`.

    Raises:
        RequestError: All rows are equal, so that the check is impossible.
        ExportError: A row's output depends on its batch; the message names the module.
    """
    pool = Pool.of(known)
    if not pool.has_distinct_rows:
        raise RequestError(
            "All example rows are equal, so it cannot be checked whether an output depends on other rows of the batch.",
            hint="Give at least two different real inputs.",
        )
    run = _run_of(deployed)
    alone = [compared(run, pool, np.array([row])) for row in _ROWS_ALONE]
    batches = list(mixed_batches(run, pool))
    worst = max([*alone, *batches], key=lambda batch: batch.error)
    if not worst.error <= pool.tolerance:
        raise _depends(worst.error, pool.tolerance, _where(deployed, pool, worst))
    detail = f"largest difference between a row alone and in mixed batches of {sizes_of(batches)} rows"
    return at_most("model.row_alone", worst.error, pool.tolerance, detail)


def _run_of(deployed: Deployed) -> Callable[[Array], Array]:
    def run(rows: Array) -> Array:
        try:
            with torch.no_grad():
                outputs: Array = deployed(torch.from_numpy(rows)).numpy()
        except Exception as error:
            raise ExportError(
                f"The model cannot take a batch of {len(rows)} rows: {type(error).__name__}: "
                f"{' '.join(str(error).split())[:200]}",
                hint="A file must take any batch size: take it from the input, without a limit.",
            ) from error
        return outputs

    return run


def _depends(error: float, tolerance: float, where: str) -> ExportError:
    return ExportError(
        "A row's output depends on its batch (on other rows, its position, or the batch size), "
        f"by {error:.3g} (rounding allows {tolerance:.3g}). It starts in {where}.",
        hint="Compute each row only from itself: do not average, sort, move or multiply across the first axis. If you "
        "need statistics, use running statistics in evaluation, as nn.BatchNorm does.",
    )


def _where(deployed: Deployed, pool: Pool, worst: Mixed) -> str:
    """Returns the module in which a row's output in a batch first differs from its output alone."""
    row = int(worst.rows[worst.place])
    alone = torch.from_numpy(pool.inputs[row : row + 1])
    # Either this batch is wrong, or the one that gave the known output.
    known = pool.batch_of(row)
    for rows, place in ((worst.rows, worst.place), (known, int(np.argmax(known == row)))):
        batch = torch.from_numpy(pool.inputs[rows])
        found = where_they_part(deployed, batch, alone, _same_row(place, len(batch)))
        if found != "the model":
            return found
    return "the model"


def _same_row(row: int, size: int) -> Callable[[Tensor, Tensor], bool]:
    def same(batched: Tensor, alone: Tensor) -> bool:
        if not batched.ndim or not alone.ndim or len(batched) != size or len(alone) != 1:
            return True
        largest = float(alone.abs().nan_to_num(posinf=0.0).max()) if alone.numel() else 0.0
        return torch.allclose(batched[row : row + 1], alone, rtol=1e-3, atol=1e-4 * largest, equal_nan=True)

    return same
