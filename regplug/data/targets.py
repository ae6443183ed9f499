"""Finds the targets of a table: classes of one column, labels of several columns, or quantities.

Shape letters: B rows, K outputs.
"""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

from regplug.api import Task
from regplug.data.drawing import distinct
from regplug.data.raw import Array
from regplug.errors import DataError, did_you_mean
from regplug.tables.kinds import Found, number_text
from regplug.tables.options import split_targets
from regplug.tables.reading import Table

MOST_CLASSES_OF_NUMBERS = 20
"""A target with at most this many different whole numbers has classes; with more it is a quantity."""

_TRUTHS = {"0": 0, "1": 1, "false": 0, "true": 1, "no": 0, "yes": 1}
"""Cells that a label may have, in lower case."""


def find_column(table: Table, name: str, role: str) -> str:
    """Returns the name of a column that an option names; empty where it names none.

    Raises:
        DataError: There is no such column; the message lists similar names.
    """
    if name and name not in table.names:
        asked = "" if role == "target" else f" for {role}"
        raise DataError(f"{table.source} has no column {name!r}{asked}.", hint=did_you_mean(name, table.names))
    return name


def target_names(table: Table, text: str) -> tuple[str, ...]:
    """Returns the columns that `target` names, separated by commas; the last column where it names none.

    Raises:
        DataError: There is no such column, or one is named twice.
    """
    if not text or text in table.names:
        return (text or table.names[-1],)
    names = split_targets(text, table.names)
    for position, name in enumerate(names):
        find_column(table, name, "target")
        if not name or name in names[:position]:
            raise DataError(
                f"target={text} {f'names {name} twice' if name else 'has a name that is empty'}.",
                hint="Name each target once, separated by commas: --target a,b,c.",
            )
    return names


def find_targets(table: Table, targets: Sequence[Found], task: str) -> tuple[Array, Task]:
    """Returns the targets as a run learns them, and what is learned.

    One column has classes, int64 `(B,)`, or a quantity, float32 `(B, 1)`. Several columns are all labels, 0 or 1, or
    all quantities: float32 `(B, K)`.

    Args:
        table: The table, for messages.
        targets: The columns.
        task: `auto`, `classification` (several columns are labels) or `regression`.

    Raises:
        DataError: A column has gaps, or cannot be a target of the task; the message names the cell.
    """
    for one in targets:
        _refuse_gaps(table, one)
        if one.marked_number and task != "classification":
            refuse_cells(table, one)
        if one.kind == "date" and task != "classification":
            raise DataError(
                f"{table.source}, column {one.name}: the target has dates, such as {one.text(0)}.",
                hint="Write them as numbers, such as years or days.",
            )
    if task == "auto":
        task = "classification" if _look_like_classes(targets) else "regression"
    if task == "classification":
        return _classes(table, targets[0]) if len(targets) == 1 else _labels(table, targets)
    columns = [_quantity(table, one) for one in targets]
    return np.stack(columns, axis=1), Task(kind="regression", num_outputs=len(columns))


def check_varied(table: Table, names: Sequence[str], y_BK: Array, task: Task) -> list[str]:
    """Returns a note on labels that are the same in every training row.

    Raises:
        DataError: A quantity is the same in every training row.
    """
    constant = [(name, y_B[0]) for name, y_B in zip(names, y_BK.T, strict=True) if (y_B == y_B[0]).all()]
    if task.is_multilabel:
        return [
            f"Label {name} is {value:g} in every training row, so it cannot be learned." for name, value in constant
        ]
    for name, value in constant:
        raise DataError(f"{table.source}, column {name}: the target is {value:g} in every training row.")
    return []


def refuse_cells(table: Table, one: Found) -> None:
    """Raises `DataError` where a column is empty, or has dates, infinite numbers or numbers beyond float32."""
    leave = f"drop=[{one.name}]"
    if one.kind == "date":
        raise DataError(
            f"{table.source}, column {one.name} has dates, such as {one.text(0)}.",
            hint=f"Write years or days as numbers, or leave it out: {leave}. To split rows by it: order={one.name}.",
        )
    if one.kind == "other":
        raise DataError(
            f"{table.source}, column {one.name} has values of type {one.type}, not numbers or text.",
            hint=f"Make columns of numbers or text of it, or leave it out: {leave}.",
        )
    if one.marked_number:
        raise DataError(
            f"{table.source}, column {one.name} has numbers that are written as {one.marked_number!r}.",
            hint=f"Write them with a point and without signs, such as 1234.5, or leave it out: {leave}.",
        )
    if one.kind == "empty":
        raise DataError(f"{table.source}, column {one.name} is empty.", hint=f"Leave it out: {leave}.")
    if one.values is not None and (one.infinities or not one.is_float32):
        _refuse_numbers(table, one, one.values)


def _refuse_numbers(table: Table, one: Found, values: Array) -> None:
    """Raises `DataError` where a number is infinite or beyond float32."""
    if one.infinities:
        row = int(np.argmax(np.isinf(values)))
        raise DataError(
            f"{table.place(row, one.name)}: the number is infinite; the column has {one.infinities} such "
            f"number{'s' * (one.infinities > 1)}.",
            hint=f"Leave the cells empty, or leave the column out: drop=[{one.name}].",
        )
    with np.errstate(over="ignore"):
        too_large = np.isinf(values.astype(np.float32, copy=False))
    if too_large.any():
        row = int(np.argmax(too_large))
        raise DataError(
            f"{table.place(row, one.name)}: {values[row]} is beyond float32's range.",
            hint="Choose another unit for the column.",
        )


def places_of(one: Found) -> Array:
    """Returns the index of each cell of a column of text."""
    if one.places is None:
        raise DataError(f"Column {one.name} holds numbers.")
    return one.places


def cells_of(one: Found) -> Array:
    """Returns one value for each row: numbers or text."""
    values = one.values
    return values if values is not None else np.array(one.labels, dtype=object)[places_of(one)].astype(str)


def _refuse_gaps(table: Table, one: Found) -> None:
    if not one.gaps:
        return
    values = one.values
    empty = np.isnan(values) if values is not None else cells_of(one) == ""
    raise DataError(
        f"{table.place(int(np.argmax(empty)), one.name)}: the target is empty; {one.gaps} "
        f"row{'s have' if one.gaps > 1 else ' has'} none.",
        hint="Leave these rows out.",
    )


def _look_like_classes(targets: Sequence[Found]) -> bool:
    """Whether one column looks like classes, or any of several is text or all are labels."""
    if len(targets) == 1:
        return _looks_like_classes(targets[0])
    return any(one.values is None for one in targets) or all(_as_labels(one) is not None for one in targets)


def _looks_like_classes(one: Found) -> bool:
    values = one.values
    if values is None:
        return True
    different = np.unique(values)
    return len(different) <= MOST_CLASSES_OF_NUMBERS and bool((different == np.floor(different)).all())


def _classes(table: Table, one: Found) -> tuple[Array, Task]:
    values = one.values
    if values is not None:
        numbers, classes = np.unique(values, return_inverse=True)
        names = tuple(map(number_text, numbers))
    else:
        used, classes, _ = distinct(places_of(one))
        names = tuple(one.labels[place] for place in used)
    if len(names) < 2:
        raise DataError(f"{table.source}, column {one.name}: every row has the class {names[0]}.")
    return classes.astype(np.int64, copy=False), Task(kind="classification", num_outputs=len(names), class_names=names)


def _labels(table: Table, targets: Sequence[Found]) -> tuple[Array, Task]:
    columns = []
    for one in targets:
        label_B = _as_labels(one)
        if label_B is None:
            texts = [one.text(row) for row in range(len(table))]
            row = next(row for row, text in enumerate(texts) if text.lower() not in _TRUTHS)
            raise DataError(
                f"{table.place(row, one.name)}: {texts[row]!r} is no label. With several targets each is a label, "
                "0 or 1.",
                hint="Write 0 and 1, true and false, or yes and no; name one target only; or ask for task=regression.",
            )
        if (label_B == label_B[0]).all():
            raise DataError(f"{table.source}, column {one.name}: the label is {label_B[0]:g} in every row.")
        columns.append(label_B)
    names = tuple(one.name for one in targets)
    return np.stack(columns, axis=1), Task(kind="multilabel", num_outputs=len(names), class_names=names)


def _as_labels(one: Found) -> Array | None:
    """Returns a column as 0 and 1, float32 `(B,)`; `None` if it has other cells."""
    values = one.values
    if values is not None:
        return values.astype(np.float32) if np.isin(values, (0, 1)).all() else None
    known = [_TRUTHS.get(text.lower()) for text in one.labels]
    if any(value is None for value in known):
        return None
    return np.array(known, dtype=np.float32)[places_of(one)]


def _quantity(table: Table, one: Found) -> Array:
    values = one.values
    if values is None:
        row = next(row for row, text in enumerate(cells_of(one)) if not _is_number(text))
        raise DataError(
            f"{table.place(row, one.name)}: {one.text(row)!r} is not a finite number.",
            hint="The target of a regression must be numbers.",
        )
    refuse_cells(table, one)
    if (values == values[0]).all():
        raise DataError(f"{table.source}, column {one.name}: the target is {one.text(0)} in every row.")
    return values.astype(np.float32)


def _is_number(text: str) -> bool:
    try:
        float(text)
    except ValueError:
        return False
    return True
