"""Reads a table from a file or a data frame as an Arrow table; errors name the line of the file."""

from __future__ import annotations

import csv
from collections.abc import Collection, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc

from regplug.errors import DataError
from regplug.tables.options import TableOptions, join_targets, split_targets
from regplug.tables.preparation import MISSING_TEXTS

DELIMITERS = {"comma": ",", "semicolon": ";", "tab": "\t", "space": " ", "bar": "|"}

_ENCODING = "utf-8-sig"
"""Skips the byte order mark that spreadsheets write; it would become part of the first name."""


@dataclass(frozen=True, kw_only=True)
class Table:
    """A table with named columns.

    Args:
        source: Where it comes from, such as the file, for messages.
        columns: The columns; names are unique.
        file: The text file and its delimiter; `None` if it was not read from a text file.
    """

    source: str
    columns: pa.Table
    file: tuple[Path, str] | None = None

    @property
    def names(self) -> tuple[str, ...]:
        """Names of the columns."""
        return tuple(self.columns.column_names)

    def __len__(self) -> int:
        return int(self.columns.num_rows)

    def place(self, row: int, column: str = "") -> str:
        """Returns where a row is, for messages: its line in a text file, else its number from 0."""
        where = f"row {row}"
        if self.file is not None:
            line = next((line for at, (line, _) in enumerate(_rows(*self.file)) if at == row + 1), row + 2)
            where = f"line {line}"
        return f"{self.source}, {where}" + (f", column {column}" if column else "")


def read_table(path: Path, delimiter: str = "auto", options: TableOptions | None = None) -> Table:
    """Reads a Parquet file or a text file with a header line.

    Args:
        path: The file.
        delimiter: A key of `DELIMITERS`, or `auto` for the most frequent one in the header.
        options: What is done with it. Numbers of a text file are then read as float32, as a network takes them, except
            in columns that an option names. `None` keeps all digits.

    Raises:
        DataError: It cannot be read; the message names the line.
    """
    if path.suffix.lower() in (".parquet", ".pq"):
        return _checked(Table(source=str(path), columns=_read_parquet(path)))
    try:
        header = _header(path, delimiter)
        sign, names = header
        _check_header(path, names)
        columns = _read_columns(path, sign, _exact(names, options))
    except FileNotFoundError as error:
        raise DataError(f"No file {path}.", hint="Relative paths start from the current folder.") from error
    except (OSError, UnicodeDecodeError, csv.Error) as error:
        raise DataError(f"{path} cannot be read as a table: {error}", hint="Save it as CSV in UTF-8.") from error
    return _checked(Table(source=str(path), columns=columns.rename_columns(names), file=(path, sign)))


def take_frame(frame: Any) -> Table:
    """Takes a data frame; the index of a pandas frame is left out.

    Raises:
        DataError: A column has values that are neither numbers nor text, or names are not unique.
    """
    if not _is_pandas(frame):
        columns = _arrow(frame)
        _check_names("the data frame", columns.column_names)
        return _checked(Table(source="the data frame", columns=columns))
    names = [str(name) for name in frame.columns]
    _check_names("the data frame", names)
    arrays = [_array(name, frame.iloc[:, position]) for position, name in enumerate(names)]
    return _checked(Table(source="the data frame", columns=pa.table(arrays, names=names)))


def with_column(frame: Any, name: str, values: Any) -> Any:
    """Returns a copy of a data frame with one more column; a frame that is not from pandas becomes an Arrow table.

    Raises:
        DataError: It has another number of rows.
    """
    plain, known = np.asarray(values), frame if _is_pandas(frame) else _arrow(frame)
    if plain.shape != (len(known),):
        raise DataError(
            f"The data frame has {len(known)} rows and {name} has {' x '.join(map(str, plain.shape))}.",
            hint="Give one value for each row.",
        )
    # In front, as the last column is the target unless another one is named.
    if not _is_pandas(frame):
        return known.add_column(0, name, pa.array(plain))
    copied = known.copy(deep=False)
    copied.insert(0, name, plain)
    return copied


def with_target(frame: Any, target: Any) -> tuple[Any, TableOptions]:
    """Returns a data frame of inputs with the targets as further columns, and the options that name them.

    Floating-point targets make a regression, all others a classification, as for arrays.

    Raises:
        DataError: The targets have another number of rows, or more than two axes.
    """
    plain = np.asarray(target)
    if plain.ndim not in (1, 2) or not plain.size:
        raise DataError(
            f"The targets of the data frame have shape {plain.shape}.",
            hint="Give one target for each row, or one column for each label.",
        )
    task: Any = "regression" if plain.dtype.kind == "f" else "classification"
    columns = plain[:, None] if plain.ndim == 1 else plain
    taken = [str(name) for name in (frame.columns if _is_pandas(frame) else _arrow(frame).column_names)]
    names: list[str] = []
    for name, column in zip(_target_names(target, columns.shape[1]), columns.T, strict=True):
        while name in taken or name in names:
            name += "_"
        frame, names = with_column(frame, name, column), [*names, name]
    return frame, TableOptions(target=join_targets(names), task=task)


def _target_names(target: Any, number: int) -> list[str]:
    if hasattr(target, "columns"):
        return [str(name) for name in target.columns]
    name = str(getattr(target, "name", None) or "target")
    return [name] if number == 1 else [f"{name} {position}" for position in range(number)]


def is_frame(value: Any) -> bool:
    """Whether a value is a data frame of pandas, or another one that Arrow reads, such as those of polars."""
    is_column = hasattr(value, "dtype") or isinstance(value, pa.ChunkedArray)
    return _is_pandas(value) or (hasattr(value, "__arrow_c_stream__") and not is_column)


def _is_pandas(value: Any) -> bool:
    return type(value).__module__.split(".")[0] == "pandas" and hasattr(value, "columns")


def _arrow(frame: Any) -> pa.Table:
    # The stream of polars has text of a type that Arrow's functions do not all take.
    return frame.to_arrow() if hasattr(frame, "to_arrow") else pa.table(frame)


def _array(name: str, series: Any) -> Any:
    if series.dtype == object:
        kinds = {type(value) for value in series.dropna()}
        if not all(issubclass(kind, str | int | float | bool) for kind in kinds):
            odd = next(kind for kind in kinds if not issubclass(kind, str | int | float | bool))
            raise DataError(
                f"Column {name} of the data frame has values of type {odd.__name__}.",
                hint="Cells must be numbers, text or booleans.",
            )
        if any(issubclass(kind, str) for kind in kinds):
            series = series.map(str, na_action="ignore")
    return pa.Array.from_pandas(series)


def _read_parquet(path: Path) -> pa.Table:
    from pyarrow import parquet

    try:
        return parquet.read_table(path)
    except (OSError, pa.ArrowException) as error:
        raise DataError(f"{path} cannot be read as Parquet: {error}", hint="Write the file again.") from error


def _header(path: Path, delimiter: str) -> tuple[str, list[str]]:
    """Returns the delimiter and the names."""
    with path.open(newline="", encoding=_ENCODING) as file:
        first = next((line for line in file if line.strip()), "")
    if delimiter != "auto":
        sign = DELIMITERS[delimiter]
    else:
        signs = [sign for name, sign in DELIMITERS.items() if name != "space"]
        sign = max(signs, key=first.count)
    return sign, [cell.strip() for cell in next(csv.reader([first], delimiter=sign), [])]


def _exact(names: Sequence[str], options: TableOptions | None) -> Collection[str]:
    """Returns the columns whose numbers must keep all digits, such as those of classes, groups and an order."""
    if options is None:
        return names
    targets = split_targets(options.target, names) or names[-1:]
    return {*targets, options.group, options.order, options.weight, *options.categories}


def _check_header(path: Path, names: Sequence[str]) -> None:
    if not names:
        raise DataError(f"{path} has no rows: it needs a header line and rows below it.")
    if all(map(_is_number, names)):
        raise DataError(f"{path}: the first line has only numbers.", hint="Add a line of column names above it.")
    parts = [name for name in names if _is_number(name) and not name.isdigit()]
    if parts:
        raise DataError(
            f"{path}: the first line has {parts[0]} as the name of a column.",
            hint="Add a line of column names above the first row.",
        )
    _check_names(str(path), names, may_lack_first=len(names) > 2)


def _check_names(source: str, names: Sequence[str], *, may_lack_first: bool = False) -> None:
    for position, name in enumerate(names):
        if not name and position == 0 and may_lack_first:
            continue
        if not name or name in names[:position]:
            fault = f"the same name {name!r} as another one" if name else "no name"
            raise DataError(f"{source}: column {position + 1} has {fault}.", hint="Give each column a unique name.")


def _read_columns(path: Path, sign: str, exact: Collection[str]) -> pa.Table:
    """Reads a text file. Numbers become float32, except in exact columns."""
    try:
        types = _narrow_types(path, sign, exact)
        read = _read_stream(path, sign, types)
        return _read_whole(path, sign) if read is None else read
    except pa.ArrowException as error:
        raise _fault(path, sign, error) from error


def _narrow_types(path: Path, sign: str, exact: Collection[str]) -> dict[str, Any]:
    """Returns types for columns by their first rows: float32 for numbers, text for booleans."""
    from pyarrow import csv as reader

    with reader.open_csv(path, **_options(sign)) as opened:
        fields = list(opened.schema)
    numbers = [one for one in fields if pa.types.is_integer(one.type) or pa.types.is_floating(one.type)]
    return {one.name: pa.float32() for one in numbers if one.name.strip() not in exact} | _truths(fields)


def _read_stream(path: Path, sign: str, types: Mapping[str, Any]) -> pa.Table | None:
    """Reads a few rows at a time, which needs a quarter of the memory of reading all rows at once.

    Returns `None` if later rows do not have the types of the first ones, or have numbers beyond float32.
    """
    from pyarrow import csv as reader

    try:
        with reader.open_csv(path, **_options(sign, types)) as opened:
            read = pa.Table.from_batches(list(opened), opened.schema)
    except pa.ArrowInvalid:
        return None
    narrow = (read.column(name) for name, kind in types.items() if pa.types.is_float32(kind))
    return None if any(pc.any(pc.is_inf(column)).as_py() for column in narrow) else read


def _read_whole(path: Path, sign: str, types: Mapping[str, Any] | None = None) -> pa.Table:
    from pyarrow import csv as reader

    read = reader.read_csv(path, **_options(sign, types))
    truths = _truths(read.schema)
    return _read_whole(path, sign, truths) if truths else read


def _truths(fields: Iterable[Any]) -> dict[str, Any]:
    """Returns text as the type of booleans: they are categories, and must keep the text that new rows will have."""
    return {one.name: pa.string() for one in fields if pa.types.is_boolean(one.type)}


def _options(sign: str, types: Mapping[str, Any] | None = None) -> dict[str, Any]:
    from pyarrow import csv as reader

    return {
        "parse_options": reader.ParseOptions(delimiter=sign, newlines_in_values=True),
        "convert_options": reader.ConvertOptions(
            null_values=list(MISSING_TEXTS), strings_can_be_null=True, column_types=dict(types or {})
        ),
    }


def _fault(path: Path, sign: str, error: Exception) -> DataError:
    rows = _rows(path, sign)
    _, header = next(rows, (0, []))
    for line, cells in rows:
        if len(cells) != len(header):
            return DataError(
                f"{path}, line {line}: {len(cells)} cells under {len(header)} column names.",
                hint="Check the delimiter, and put text that contains it in quotes.",
            )
    reason = " ".join(str(error).split())[:200]
    return DataError(f"{path} cannot be read as a table: {reason}", hint="Save it as CSV in UTF-8.")


def _rows(path: Path, sign: str) -> Iterator[tuple[int, list[str]]]:
    """Yields the line in which each row ends, from 1, and its cells; blank lines are skipped."""
    with path.open(newline="", encoding=_ENCODING) as file:
        reader = csv.reader(file, delimiter=sign)
        yield from ((reader.line_num, cells) for cells in reader if cells)


def _checked(table: Table) -> Table:
    if not len(table):
        raise DataError(f"{table.source} has no rows: it needs a header line and rows below it.")
    names = table.names
    _check_names(table.source, names, may_lack_first=True)
    if names[0]:
        return table
    return Table(source=table.source, columns=_without_counter(table), file=table.file)


def _without_counter(table: Table) -> pa.Table:
    """Leaves out a first column of row numbers without a name, as pandas writes its index."""
    first = table.columns.column(0)
    if pa.types.is_integer(first.type) and not first.null_count:
        values = first.to_numpy()
        if (values - values[0] == range(len(values))).all():
            return table.columns.remove_column(0)
    raise DataError(f"{table.source}: column 1 has no name.", hint="Give each column a unique name.")


def _is_number(cell: str) -> bool:
    try:
        float(cell)
    except ValueError:
        return False
    return True
