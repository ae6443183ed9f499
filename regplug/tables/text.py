"""Parses text files with Arrow: parts of a file in threads if its lines are rows, else a few rows at a time."""

from __future__ import annotations

from collections.abc import Collection, Iterable, Mapping
from functools import partial
from pathlib import Path
from typing import Any

import pyarrow as pa
import pyarrow.compute as pc
from pyarrow import csv

from regplug.tables.gathering import Gathered
from regplug.tables.preparation import MISSING_TEXTS
from regplug.tables.threads import few_threads

_BLOCK_BYTES, _BLOCK_BYTES_OF_COLUMN, _MOST_BLOCK_BYTES = 1 << 19, 2 << 10, 8 << 20
_PART_BYTES = 4 << 20


def read_text(path: Path, sign: str, num_columns: int, exact: Collection[str]) -> pa.Table:
    """Reads a text file. Numbers become float32, except in exact columns.

    Args:
        path: The file.
        sign: Its delimiter.
        num_columns: Number of its columns.
        exact: Columns whose numbers keep all digits.

    Raises:
        pyarrow.ArrowException: It cannot be read.
    """
    block = _block_size(num_columns)
    types = _types_of_first_rows(path, sign, exact, block)
    try:
        read = _read_parts(path, sign, types, block)
        read = _read_stream(path, sign, types, block) if read is None else read
    except pa.ArrowInvalid:
        return _read_whole(path, sign)
    pa.default_memory_pool().release_unused()
    return read


def _block_size(num_columns: int) -> int:
    """Returns how many bytes are read at a time: with few rows at a time, a column's parts take more than its cells."""
    return min(max(_BLOCK_BYTES, num_columns * _BLOCK_BYTES_OF_COLUMN), _MOST_BLOCK_BYTES)


def _types_of_first_rows(path: Path, sign: str, exact: Collection[str], block: int) -> dict[str, Any]:
    """Returns types for columns by their first rows: float32 for numbers, a dictionary for text and booleans."""
    with csv.open_csv(path, csv.ReadOptions(block_size=block), **_options(sign)) as opened:
        return {one.name: _narrow(one, exact) for one in opened.schema}


def _narrow(field: Any, exact: Collection[str]) -> Any:
    kind = field.type
    if pa.types.is_string(kind) or pa.types.is_boolean(kind):
        return pa.dictionary(pa.int32(), pa.string())
    is_number = pa.types.is_integer(kind) or pa.types.is_floating(kind)
    return pa.float32() if is_number and field.name.strip() not in exact else kind


def _read_parts(path: Path, sign: str, types: Mapping[str, Any], block: int) -> pa.Table | None:
    """Parses parts of the file in threads.

    Returns `None` if a line end may not be the end of a row, as the file has quotes below its first line, or if a line
    is longer than a part.

    Raises:
        pyarrow.ArrowInvalid: Some rows do not have these types, or have numbers beyond float32.
    """
    cuts = _cuts(path, max(block, _PART_BYTES))
    gathered = Gathered(types)
    with few_threads() as threads:
        parts = threads.map(partial(_read_part, path, sign, types, block), cuts, cuts[1:])
        for part, end in zip(parts, cuts[1:], strict=True):
            if part is None:
                return None
            gathered.add(part, share=end / cuts[-1])
    return _within_float32(gathered.table()) if cuts else None


def _cuts(path: Path, size: int) -> list[int]:
    """Returns where parts begin, each at the start of a line, and where the last ends; empty if a line is longer."""
    end = path.stat().st_size
    cuts = {0, end}
    with path.open("rb") as file:
        for target in range(size, end, size):
            file.seek(target)
            line = file.readline(size)
            cuts.add(file.tell())
            if not line.endswith(b"\n") and file.tell() < end:
                return []
    return sorted(cuts)


def _read_part(path: Path, sign: str, types: Mapping[str, Any], block: int, start: int, end: int) -> pa.Table | None:
    with path.open("rb") as file:
        file.seek(start)
        text = file.read(end - start)
    if text.find(b'"', 0 if start else text.find(b"\n")) >= 0:
        return None
    names = list(types) if start else None
    options = csv.ReadOptions(use_threads=False, block_size=block, column_names=names)
    return csv.read_csv(pa.BufferReader(text), options, **_options(sign, types, has_quotes=False))


def _read_stream(path: Path, sign: str, types: Mapping[str, Any], block: int) -> pa.Table:
    """Reads a few rows at a time, which needs a quarter of the memory of reading all rows at once.

    Raises:
        pyarrow.ArrowInvalid: Some rows do not have these types, or have numbers beyond float32.
    """
    with csv.open_csv(path, csv.ReadOptions(block_size=block), **_options(sign, types)) as opened:
        return _within_float32(pa.Table.from_batches(list(opened), opened.schema)).combine_chunks()


def _within_float32(read: pa.Table) -> pa.Table:
    """Returns the rows.

    Raises:
        pyarrow.ArrowInvalid: They have infinities, which are numbers beyond float32 unless the file has them.
    """
    if any(pc.any(pc.is_inf(column)).as_py() for column in read.itercolumns() if pa.types.is_float32(column.type)):
        raise pa.ArrowInvalid("A number is beyond float32.")
    return read


def _read_whole(path: Path, sign: str, types: Mapping[str, Any] | None = None) -> pa.Table:
    read = csv.read_csv(path, **_options(sign, types))
    truths = _truths(read.schema)
    return _read_whole(path, sign, truths) if truths else read


def _truths(fields: Iterable[Any]) -> dict[str, Any]:
    """Returns text as the type of booleans: they are categories, and must keep the text that new rows will have."""
    return {one.name: pa.string() for one in fields if pa.types.is_boolean(one.type)}


def _options(sign: str, types: Mapping[str, Any] | None = None, *, has_quotes: bool = True) -> dict[str, Any]:
    return {
        # Without quotes, Arrow need not parse a part to find its last row.
        "parse_options": csv.ParseOptions(delimiter=sign, newlines_in_values=has_quotes),
        "convert_options": csv.ConvertOptions(
            null_values=list(MISSING_TEXTS), strings_can_be_null=True, column_types=dict(types or {})
        ),
    }
