"""A table of the user's own: a header line, then one line a row; numeric columns and a target."""

from __future__ import annotations

import csv
import math
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from regplug.api import DataContext, Task
from regplug.data import Array, InputSpec, RawData, Split, encode_classes, split_groups, split_indices
from regplug.errors import DataError, did_you_mean
from regplug_datasets import CSVParams

MOST_CLASSES_OF_NUMBERS = 20
"""A target of whole numbers has classes up to so many different ones, and is a quantity beyond."""

_DELIMITERS = {"comma": ",", "semicolon": ";", "tab": "\t", "space": " ", "bar": "|"}


def csv_file(params: CSVParams, context: DataContext) -> RawData:
    """Returns the rows of a file, parted at random: by groups, else with the same share of each class where there are.

    Raises:
        DataError: No such file or column, no header, a row of another length, or text or nothing where a number is
            needed; it names file, line and column.
    """
    table = _read_table(params)
    target = _find_target(table, params.target)
    groups = _groups(table, params.group, target)
    names = tuple(name for name in table.header if name not in (target, params.group))
    if not names:
        beside = f"the target {target}" + f" and the group {params.group}" * bool(params.group)
        raise DataError(f"{table.path} has no column beside {beside}.", hint="Is the delimiter right?")
    rows_x = np.stack([_numbers(table, name) for name in names], axis=1)
    rows_y, task = _targets(table, target, params.task)
    labels = None
    if task.is_classification:
        _check_class_sizes(table.path, target, task, rows_y, num_splits=3 if params.validation else 2)
        labels = rows_y
    valid_share, test_share, seed = params.validation, params.test, context.data_seed
    if groups is None:
        index = split_indices(len(rows_y), valid=valid_share, test=test_share, seed=seed, labels=labels)
    else:
        index = split_groups(groups, valid=valid_share, test=test_share, seed=seed)
    train, valid, test = (Split(x=rows_x[rows], y=rows_y[rows]) for rows in index)
    return RawData(
        name="csv",
        train=train,
        valid=valid if len(valid) else None,
        test=test,
        task=task,
        inputs=InputSpec(layout="row", shape=(len(names),), dtype="float32", names=names),
        normalize=params.normalize,
        source=f"{table.path}, target {target}",
        groups=None if groups is None else np.concatenate([groups[index[0]], groups[index[1]]]),
    )


def _groups(table: _Table, name: str, target: str) -> Array | None:
    if not name:
        return None
    if name not in table.header or name == target:
        known = [one for one in table.header if one != target]
        raise DataError(f"{table.path} has no column {name!r} to group by.", hint=did_you_mean(name, known))
    return np.array(table.column(name))


@dataclass(frozen=True, kw_only=True)
class _Table:
    """Cells as text, by column.

    Args:
        path: Of the file.
        header: Column names, each once.
        columns: The cells of each column, without spaces around them.
        lines: Line of the file in which each row ends, from 1.
    """

    path: Path
    header: tuple[str, ...]
    columns: tuple[tuple[str, ...], ...]
    lines: tuple[int, ...]

    def column(self, name: str) -> tuple[str, ...]:
        return self.columns[self.header.index(name)]


def _read_table(params: CSVParams) -> _Table:
    if not params.path:
        raise DataError("Dataset csv needs a file.", hint='For example --dataset "csv:path=my.csv,target=price".')
    path = Path(params.path).expanduser()
    try:
        # utf-8-sig: spreadsheets write a byte order mark, which would become part of the first name.
        with path.open(newline="", encoding="utf-8-sig") as file:
            reader = csv.reader(file, delimiter=_DELIMITERS[params.delimiter])
            numbered = [(reader.line_num, [cell.strip() for cell in cells]) for cells in reader if cells]
    except FileNotFoundError as error:
        raise DataError(f"No file {path}.", hint="Paths are taken from the folder in which you stand.") from error
    except (OSError, UnicodeDecodeError, csv.Error) as error:
        raise DataError(f"{path} cannot be read as a table: {error}", hint="Save it as CSV in UTF-8.") from error
    if len(numbered) < 2:
        raise DataError(f"{path} has no rows: it needs a header line and rows below it.")
    (_, header), *rows = numbered
    _check_header(path, header)
    for line, cells in rows:
        if len(cells) != len(header):
            raise DataError(
                f"{path}, line {line}: {len(cells)} cells under {len(header)} column names.",
                hint="Is the delimiter right, and does text with a delimiter in it stand in quotes?",
            )
    lines, cells_by_row = zip(*rows, strict=True)
    return _Table(path=path, header=tuple(header), columns=tuple(zip(*cells_by_row, strict=True)), lines=lines)


def _check_header(path: Path, header: Sequence[str]) -> None:
    if all(_is_number(name) for name in header):
        raise DataError(f"{path}: the first line holds numbers only.", hint="Put a line of column names above it.")
    for position, name in enumerate(header):
        if not name or name in header[:position]:
            fault = f"the name {name!r} of another one" if name else "no name"
            raise DataError(f"{path}: column {position + 1} has {fault}.", hint="Give each column a name of its own.")


def _find_target(table: _Table, target: str) -> str:
    if not target:
        return table.header[-1]
    if target not in table.header:
        raise DataError(f"{table.path} has no column {target!r}.", hint=did_you_mean(target, table.header))
    return target


def _numbers(table: _Table, name: str) -> Array:
    """Returns a column as float32 `(rows,)`; that is what the exported model takes."""
    values = np.array(
        [_number(table, name, line, cell) for line, cell in zip(table.lines, table.column(name), strict=True)]
    )
    with np.errstate(over="ignore"):
        values_float32 = values.astype(np.float32)
    if not np.isfinite(values_float32).all():
        row = int(np.argmin(np.isfinite(values_float32)))
        raise DataError(
            f"{table.path}, line {table.lines[row]}, column {name}: {values[row]} is beyond float32's range.",
            hint="Choose another unit for the column.",
        )
    return values_float32


def _number(table: _Table, name: str, line: int, cell: str) -> float:
    try:
        value = float(cell)
    except ValueError:
        value = math.nan
    if not math.isfinite(value):
        found = f"{cell!r} is no finite number" if cell else "the cell is empty"
        raise DataError(
            f"{table.path}, line {line}, column {name}: {found}.",
            hint="Give numbers, or leave the row or the column out; only the target of a classification may be text.",
        )
    return value


def _targets(table: _Table, target: str, task: str) -> tuple[Array, Task]:
    cells = table.column(target)
    if task == "auto":
        task = "classification" if _looks_like_classes(cells) else "regression"
    if task == "regression":
        return _numbers(table, target)[:, None], Task(kind="regression", num_outputs=1)
    if "" in cells:
        line = table.lines[cells.index("")]
        raise DataError(f"{table.path}, line {line}, column {target}: the cell is empty.", hint="Leave the row out.")
    classes, names = encode_classes(_class_labels(cells))
    if len(names) < 2:
        raise DataError(f"{table.path}, column {target}: every row has the class {names[0]}.")
    return classes, Task(kind="classification", num_outputs=len(names), class_names=names)


def _check_class_sizes(path: Path, target: str, task: Task, classes: Array, num_splits: int) -> None:
    sizes = np.bincount(classes)
    rarest = int(sizes.argmin())
    if sizes[rarest] < num_splits:
        raise DataError(
            f"{path}, column {target}: class {task.class_names[rarest]} has {sizes[rarest]} row(s), fewer than the "
            f"{num_splits} splits; there are {len(sizes)} classes.",
            hint="Leave out or join rare classes; for a quantity, ask for task=regression.",
        )


def _looks_like_classes(cells: Sequence[str]) -> bool:
    different = set(cells)
    if not all(_is_number(cell) for cell in different if cell):
        return True
    return len(different) <= MOST_CLASSES_OF_NUMBERS and all(_is_whole(cell) for cell in different)


def _class_labels(cells: Sequence[str]) -> Array:
    """Returns whole numbers as int64, so that 10 comes after 9 and 1.0 is 1; else the text."""
    if all(_is_whole(cell) for cell in set(cells)):
        return np.array([int(float(cell)) for cell in cells])
    return np.array(cells)


def _is_number(cell: str) -> bool:
    try:
        float(cell)
    except ValueError:
        return False
    return True


def _is_whole(cell: str) -> bool:
    return _is_number(cell) and float(cell).is_integer()
