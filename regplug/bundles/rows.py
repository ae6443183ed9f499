"""Rows as the user's table has them, for a bundle whose files take prepared numbers. numpy alone; Arrow for Parquet."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np

from regplug.bundles.formats import Array
from regplug.bundles.report import Check, at_most, holds
from regplug.errors import BundleError, some_of
from regplug.tables.preparation import MISSING_TEXTS, PROVING_ROWS, Preparation

_MOST_TOLD = 3


def preparation_of(manifest: Mapping[str, Any]) -> Preparation | None:
    """What happens to a row before the files take it; `None` where nothing does."""
    part = manifest.get("preparation")
    return Preparation.from_json(part) if part else None


def prepare_cells(
    path: Path, place: Callable[[int], str], cells: Sequence[Sequence[str]], preparation: Preparation
) -> tuple[Array, tuple[str, ...]]:
    """Returns the numbers `(B, F)` of rows of text, and what was done to them.

    Args:
        path: The file, for notes.
        place: Returns where a row is, for messages, such as `new.csv, line 2`.
        cells: Of each row, in the order of the preparation's columns.
        preparation: What the bundle's manifest says.

    Raises:
        BundleError: A cell of a number is none.
    """
    try:
        codes_BC = preparation.encode(cells)
    except ValueError as error:
        row, column, cell = error.args
        raise BundleError(
            f"{place(row)}, column {column!r}: {cell!r} is not a number.",
            hint="Write decimals with a point: 1.5; an empty cell is filled.",
        ) from None
    wide = np.argwhere(np.isinf(codes_BC))
    if len(wide):
        row, position = wide[0]
        raise BundleError(
            f"{place(row)}, column {preparation.names[position]!r}: the number is infinite.",
            hint="Leave the cell empty, or leave the row out.",
        )
    return preparation.apply(codes_BC), tuple(_notes(path, codes_BC, cells, preparation))


def read_parquet(path: Path, preparation: Preparation) -> tuple[Array, tuple[str, ...]]:
    """Returns the numbers of the rows of a Parquet file, and what was done to them.

    Raises:
        BundleError: A column is missing, or a cell is not a number.
    """
    from regplug.tables.kinds import find_kinds
    from regplug.tables.reading import read_table

    table = read_table(path)
    missing = [name for name in preparation.names if name not in table.names]
    if missing:
        raise BundleError(
            f"{path} lacks the column{'s' if len(missing) > 1 else ''} {some_of(missing)}.",
            hint=f"This bundle takes the columns {some_of(preparation.names)}, in any order.",
        )
    found = find_kinds(table)
    columns = [[found[name].text(row) for row in range(len(table))] for name in preparation.names]
    numbers, notes = prepare_cells(path, table.place, list(zip(*columns, strict=True)), preparation)
    return numbers, (*extra_notes(path, table.names, preparation.names), *notes)


def extra_notes(path: Path, header: Iterable[str], names: Sequence[str]) -> tuple[str, ...]:
    """That columns were left out which the bundle does not take."""
    extra = [name for name in header if name not in names]
    return (f"{path.name}: columns that the model does not take are ignored: {some_of(extra)}.",) if extra else ()


def rows_prepared(manifest: Mapping[str, Any], real: Array) -> list[Check]:
    """The rows of the table that the manifest holds become the first real rows, on which every file is held to torch.

    So a file's answers to rows as the table has them are those that were compared with torch's.

    Args:
        manifest: What the bundle says of itself.
        real: The real rows of the samples `(N, F)`.
    """
    preparation = preparation_of(manifest)
    if preparation is None:
        return []
    faults = list(_preparation_faults(manifest, preparation, len(real)))
    if faults:
        return [holds("samples.raw_rows", False, "; ".join(faults))]
    try:
        numbers = preparation.apply(preparation.encode(preparation.rows))
    except (ValueError, IndexError) as error:
        return [holds("samples.raw_rows", False, f"the manifest's rows cannot be prepared: {error}")]
    wanted = real[: len(numbers)]
    if not len(numbers) or numbers.shape != wanted.shape:
        return [holds("samples.raw_rows", False, f"the manifest's rows become {numbers.shape}, not {wanted.shape}")]
    gap = float(np.abs(numbers - wanted).max())
    detail = f"{len(numbers)} rows of the table become the rows on which the files are compared with torch"
    return [at_most("samples.raw_rows", gap, 0.0, detail)]


def _preparation_faults(manifest: Mapping[str, Any], preparation: Preparation, most: int) -> Iterator[str]:
    """Yields how the preparation contradicts the rest of the manifest; `most` is the number of real rows."""
    if list(preparation.features) != list(manifest.get("column_names") or preparation.features):
        yield "preparation makes other columns than column_names has"
    if manifest["preparation"]["missing"] != list(MISSING_TEXTS):
        yield "preparation.missing has other texts than regplug takes as missing values"
    metrics = manifest.get("metrics") or ()
    least = min(most, PROVING_ROWS, metrics[0]["rows"]) if metrics else 1
    if len(preparation.rows) < least:
        yield f"preparation.rows has {len(preparation.rows)} rows, and an export writes {least}"


def _notes(path: Path, codes_BC: Array, cells: Sequence[Sequence[str]], preparation: Preparation) -> list[str]:
    notes = []
    for position, fitted in enumerate(preparation.columns):
        column, codes_B = fitted.column, codes_BC[:, position]
        if column.kind == "number":
            gaps = int(np.isnan(codes_B).sum())
            if gaps and not column.has_gaps:
                filled = f"{gaps} empty cells of {column.name} count as {fitted.fill:g}"
                notes.append(f"{path.name}: {filled}; no training row had one.")
            continue
        other_B = codes_B == len(column.categories)
        unseen = sorted({row[position].strip() for row, is_other in zip(cells, other_B, strict=True) if is_other})
        if unseen:
            more = ", ..." if len(unseen) > _MOST_TOLD else ""
            shown = ", ".join(map(repr, unseen[:_MOST_TOLD])) + more
            notes.append(f"{path.name}: {column.name} has {shown}, rare or not seen in training: taken as other.")
    return notes
