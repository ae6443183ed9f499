"""Reads a table from a file or a data frame as an Arrow table; errors name the line of the file."""

from __future__ import annotations

import csv
from collections.abc import Collection, Iterator, Sequence
from dataclasses import dataclass
from itertools import chain, islice
from pathlib import Path

import pyarrow as pa

from regplug.errors import DataError
from regplug.tables.delimiters import DELIMITERS, ENCODING, first_line, likely_delimiter
from regplug.tables.options import TableOptions, split_targets
from regplug.tables.text import read_text


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
    with path.open(newline="", encoding=ENCODING) as file:
        first = first_line(file)
        sign = likely_delimiter(first) if delimiter == "auto" else DELIMITERS[delimiter]
        # A name in quotes may have line ends, as spreadsheets write them.
        return sign, [cell.strip() for cell in next(csv.reader(chain([first], file), delimiter=sign), [])]


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
    with path.open(newline="", encoding=ENCODING) as file:
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
    try:
        return read_text(path, sign, len(names), exact)
    except pa.ArrowException as error:
        raise _fault(path, sign, error) from error


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
    with path.open(newline="", encoding=ENCODING) as file:
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
