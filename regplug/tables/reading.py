"""Reads a table from a file or a data frame as an Arrow table; errors name the line of the file."""

from __future__ import annotations

import csv
from collections.abc import Collection, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from itertools import islice
from pathlib import Path
from typing import Any

import pyarrow as pa
import pyarrow.compute as pc

from regplug.errors import DataError
from regplug.tables.options import TableOptions, split_targets
from regplug.tables.preparation import MISSING_TEXTS

DELIMITERS = {"comma": ",", "semicolon": ";", "tab": "\t", "space": " ", "bar": "|"}

_ENCODING = "utf-8-sig"
"""Skips the byte order mark that spreadsheets write; it would become part of the first name."""

_BLOCK_BYTES, _BLOCK_BYTES_OF_COLUMN, _MOST_BLOCK_BYTES = 1 << 19, 2 << 10, 8 << 20


@dataclass(frozen=True, kw_only=True)
class Table:
    """A table with named columns.

    Args:
        source: Where it comes from, such as the file, for messages.
        columns: The columns; names are unique.
        file: The text file and its delimiter; `None` if it was not read from a text file.
        splits: Name (train, valid or test) and number of rows of each split that stands in it, one after the other;
            empty if its rows are to be split.
    """

    source: str
    columns: pa.Table
    file: tuple[Path, str] | None = None
    splits: tuple[tuple[str, int], ...] = ()

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
        for name, rows in self.splits:
            if row < rows:
                where = f"{name} row {row}"
                break
            row -= rows
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
        return checked_table(Table(source=str(path), columns=_read_parquet(path)))
    try:
        sign, names = _header(path, delimiter)
        _check_header(path, names)
        columns = _read_columns(path, sign, names, _exact(names, options))
    except FileNotFoundError as error:
        raise DataError(f"No file {path}.", hint="Relative paths start from the current folder.") from error
    except (OSError, UnicodeDecodeError, csv.Error) as error:
        raise DataError(f"{path} cannot be read as a table: {error}", hint="Save it as CSV in UTF-8.") from error
    return checked_table(Table(source=str(path), columns=columns.rename_columns(names), file=(path, sign)))


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
    if not names or _is_alone(path):
        raise DataError(f"{path} has no rows: it needs a header line and rows below it.")
    if any("\x00" in name for name in names):
        raise DataError(f"{path} has NUL characters, so it is not text in UTF-8.", hint="Save it as CSV in UTF-8.")
    if all(map(_is_number, names)):
        raise DataError(f"{path}: the first line has only numbers.", hint="Add a line of column names above it.")
    parts = [name for name in names if _is_number(name) and not name.isdigit()]
    if parts:
        raise DataError(
            f"{path}: the first line has {parts[0]} as the name of a column.",
            hint="Add a line of column names above the first row.",
        )
    check_names(str(path), names, may_lack_first=len(names) > 2)


def _is_alone(path: Path) -> bool:
    """Whether only one line of the file is not blank; pyarrow refuses such a file if the line has no end."""
    with path.open(newline="", encoding=_ENCODING) as file:
        return sum(1 for _ in islice((line for line in file if line.strip()), 2)) < 2


def check_names(source: str, names: Sequence[str], *, may_lack_first: bool = False) -> None:
    """Raises `DataError` where a column has no name, or the name of another one.

    Args:
        source: Where the table comes from, for messages.
        names: Names of the columns.
        may_lack_first: Whether the first column may have no name, as pandas writes its index.
    """
    for position, name in enumerate(names):
        if not name and position == 0 and may_lack_first:
            continue
        if not name or name in names[:position]:
            fault = f"the same name {name!r} as another one" if name else "no name"
            raise DataError(f"{source}: column {position + 1} has {fault}.", hint="Give each column a unique name.")


def _read_columns(path: Path, sign: str, names: Sequence[str], exact: Collection[str]) -> pa.Table:
    """Reads a text file. Numbers become float32, except in exact columns."""
    try:
        block = _block(len(names))
        read = _read_stream(path, sign, _narrow_types(path, sign, exact, block), block)
        return _read_whole(path, sign) if read is None else read
    except pa.ArrowException as error:
        raise _fault(path, sign, error) from error


def _narrow_types(path: Path, sign: str, exact: Collection[str], block: Mapping[str, Any]) -> dict[str, Any]:
    """Returns types for columns by their first rows: float32 for numbers, a dictionary for text and booleans."""
    from pyarrow import csv as reader

    with reader.open_csv(path, **block, **_options(sign)) as opened:
        fields = list(opened.schema)
    numbers = [one for one in fields if pa.types.is_integer(one.type) or pa.types.is_floating(one.type)]
    texts = [one for one in fields if pa.types.is_string(one.type) or pa.types.is_boolean(one.type)]
    narrow = {one.name: pa.float32() for one in numbers if one.name.strip() not in exact}
    return narrow | {one.name: pa.dictionary(pa.int32(), pa.string()) for one in texts}


def _block(num_columns: int) -> dict[str, Any]:
    """Returns how much is read at a time: with few rows at a time, the parts of a column take more than its cells."""
    from pyarrow import csv as reader

    size = min(max(_BLOCK_BYTES, num_columns * _BLOCK_BYTES_OF_COLUMN), _MOST_BLOCK_BYTES)
    return {"read_options": reader.ReadOptions(block_size=size)}


def _read_stream(path: Path, sign: str, types: Mapping[str, Any], block: Mapping[str, Any]) -> pa.Table | None:
    """Reads a few rows at a time, which needs a quarter of the memory of reading all rows at once.

    Returns `None` if later rows do not have the types of the first ones, or have numbers beyond float32.
    """
    from pyarrow import csv as reader

    try:
        with reader.open_csv(path, **block, **_options(sign, types)) as opened:
            read = pa.Table.from_batches(list(opened), opened.schema)
    except pa.ArrowInvalid:
        return None
    pa.default_memory_pool().release_unused()
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
                f"{path}, line {line}: {len(cells)} cell{'s' * (len(cells) != 1)} under {len(header)} column names.",
                hint="Check the delimiter, and put text that contains it in quotes.",
            )
    reason = " ".join(str(error).split())[:200]
    return DataError(f"{path} cannot be read as a table: {reason}", hint="Save it as CSV in UTF-8.")


def _rows(path: Path, sign: str) -> Iterator[tuple[int, list[str]]]:
    """Yields the line in which each row ends, from 1, and its cells; blank lines are skipped."""
    with path.open(newline="", encoding=_ENCODING) as file:
        reader = csv.reader(file, delimiter=sign)
        yield from ((reader.line_num, cells) for cells in reader if cells)


def checked_table(table: Table) -> Table:
    """Returns a table without a first column of row numbers that has no name.

    Raises:
        DataError: It has no rows, or its names are missing or not unique.
    """
    if not len(table):
        needs = "it needs a header line and rows below it" if table.file else "it needs columns of at least one row"
        raise DataError(f"{table.source} has no rows: {needs}.")
    names = table.names
    check_names(table.source, names, may_lack_first=True)
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
