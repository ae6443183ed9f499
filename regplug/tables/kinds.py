"""Finds the kind of each column of a table: numbers, categories, dates, a constant, empty, ids, or other values."""

from __future__ import annotations

import re
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, Literal

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc

from regplug.tables.preparation import MISSING_TEXTS, Array
from regplug.tables.reading import Table

FoundKind = Literal["number", "category", "date", "constant", "empty", "id", "other"]

_DATE = re.compile(r"\d{1,4}([-/.])\d{1,2}\1\d{1,4}([T ].*)?")
_MARKED_NUMBER = re.compile(r"[+-]?(\d+,\d+|\d{1,3}(,\d{3})+(\.\d+)?|\d{1,3}(\.\d{3})+,\d+|\d+([.,]\d+)? ?%)")
_LOOKED_AT = 100
_FEWEST_NAMED_ROWS = 20
_MOST_SHOWN = 4


@dataclass(frozen=True, kw_only=True)
class Found:
    """A column and its kind.

    Args:
        name: Name of the column.
        kind: Its kind.
        gaps: Number of empty cells.
        infinities: Number of infinite cells.
        numbers: Its numbers, from Arrow or NumPy; `None` for text.
        places: For text: the index of each cell in `labels`.
        labels: For text: its different values, sorted; `""` is an empty cell.
        type: For values that are neither numbers nor text: their type.
    """

    name: str
    kind: FoundKind
    gaps: int = 0
    infinities: int = 0
    numbers: Any = None
    places: Array | None = None
    labels: tuple[str, ...] = ()
    type: str = ""

    @property
    def values(self) -> Array | None:
        """Its numbers as floats, with NaN for empty cells; `None` for text.

        They may be a copy, which is not kept because the table may be large.
        """
        return self.numbers if self.numbers is None or isinstance(self.numbers, np.ndarray) else _floats(self.numbers)

    @property
    def is_float32(self) -> bool:
        """Whether its numbers are float32."""
        return self.numbers is not None and _floats(self.numbers[:0]).dtype == np.float32

    def values_of(self, rows: slice) -> Array:
        """Returns the numbers of some rows as floats, with NaN for empty cells; only for a column of numbers."""
        return _floats(self.numbers[rows])

    @property
    def marked_number(self) -> str:
        """A cell of a column of text that has numbers with commas or percent signs; empty for other columns."""
        known = [label for label in self.labels if label]
        return known[0] if known and all(map(_MARKED_NUMBER.fullmatch, known)) else ""

    @property
    def counts_rows(self) -> bool:
        """Whether its values are 0, 1, 2, ... or 1, 2, 3, ..., like row numbers."""
        if self.numbers is None or len(self.numbers) < _FEWEST_NAMED_ROWS:
            return False
        first = _floats(self.numbers[:2])
        if first[0] not in (0, 1) or first[1] != first[0] + 1:
            return False
        values = _floats(self.numbers)
        return bool((values - values[0] == np.arange(len(values))).all())

    def as_category(self) -> Found:
        """Returns the column with its numbers as categories."""
        values = self.values
        if values is None:
            return self
        texts = ["" if np.isnan(value) else number_text(value) for value in values]
        return _of_texts(self.name, texts, self.gaps)

    def text(self, row: int) -> str:
        """Returns one cell as text."""
        if self.places is not None:
            return self.labels[int(self.places[row])]
        if self.numbers is None:
            return ""
        (value,) = _floats(self.numbers[row : row + 1])
        return "" if np.isnan(value) else number_text(value)

    def describe(self) -> str:
        """Returns a one-line summary of its values."""
        values = self.values
        if self.kind == "number" and values is not None:
            known = values[np.isfinite(values)].astype(np.float64)
            span = f"{known.min():g} to {known.max():g}, mean {known.mean():.4g}" if len(known) else ""
            return span + ("; row numbers, likely an id" if self.counts_rows else "")
        if self.kind == "other":
            return f"values of type {self.type}"
        labels = [label for label in self.labels if label]
        shown = ", ".join(labels[:_MOST_SHOWN]) + (", ..." if len(labels) > _MOST_SHOWN else "")
        return f"{len(labels)} different: {shown}" if labels else ""


def number_text(value: float | np.floating[Any]) -> str:
    """Returns a number as text; whole numbers have no decimal point.

    >>> number_text(3.0), number_text(np.float32(0.1))
    ('3', '0.1')
    """
    is_whole = float(value).is_integer() and abs(float(value)) < 1e15
    # Its own type has the fewest digits: as a float, float32's 0.1 is 0.10000000149011612.
    return str(int(value)) if is_whole else str(value)


def find_kinds(table: Table) -> Mapping[str, Found]:
    """Returns the columns with their kinds, by name, in the order of the table."""
    return {name: _found(name, table.columns.column(name)) for name in table.names}


def _found(name: str, cells: Any) -> Found:
    gaps = int(cells.null_count)
    if gaps == len(cells):
        return Found(name=name, kind="empty", gaps=gaps)
    kind = cells.type
    if not _is_plain(kind):
        return Found(name=name, kind="other", gaps=gaps, type=str(kind))
    if pa.types.is_temporal(kind):
        texts = pc.cast(cells, pa.string()).to_pylist()
        return _of_texts(name, [text or "" for text in texts], gaps, kind="date")
    if pa.types.is_integer(kind) or pa.types.is_floating(kind) or pa.types.is_decimal(kind):
        return _of_numbers(name, cells)
    return _of_dictionary(name, cells)


def _is_plain(kind: Any) -> bool:
    """Whether cells of an Arrow type are numbers, text, truth values or times, and not lists or bytes."""
    if pa.types.is_dictionary(kind):
        return _is_plain(kind.value_type)
    texts = pa.types.is_string(kind) or pa.types.is_large_string(kind) or pa.types.is_string_view(kind)
    numbers = pa.types.is_integer(kind) or pa.types.is_floating(kind) or pa.types.is_decimal(kind)
    times = pa.types.is_temporal(kind) and not pa.types.is_duration(kind) and not pa.types.is_interval(kind)
    return bool(texts or numbers or times or pa.types.is_boolean(kind))


def _floats(numbers: Any) -> Array:
    """Returns numbers of Arrow or NumPy as floats, with NaN for empty cells."""
    if isinstance(numbers, np.ndarray):
        return numbers
    values: Array = (numbers if _are_floats(numbers) else pc.cast(numbers, pa.float64(), safe=False)).to_numpy()
    return values


def _are_floats(numbers: Any) -> bool:
    return bool(pa.types.is_float32(numbers.type) or pa.types.is_float64(numbers.type))


def _of_numbers(name: str, numbers: Any) -> Found:
    values = _floats(numbers)
    others = len(values) - int(np.isfinite(values).sum())
    gaps = int(np.isnan(values).sum()) if others else 0
    if gaps == len(values):
        return Found(name=name, kind="empty", gaps=gaps)
    kind: FoundKind = "constant" if not gaps and bool((values == values[0]).all()) else "number"
    kept = values if _is_contiguous(numbers) else numbers
    return Found(name=name, kind=kind, gaps=gaps, infinities=others - gaps, numbers=kept)


def _is_contiguous(numbers: Any) -> bool:
    """Whether Arrow's numbers are one array of floats without gaps, so that NumPy needs no copy."""
    is_chunked = isinstance(numbers, pa.ChunkedArray)
    return is_chunked and numbers.num_chunks == 1 and not numbers.null_count and _are_floats(numbers)


def _of_dictionary(name: str, cells: Any) -> Found:
    whole = cells.combine_chunks() if isinstance(cells, pa.ChunkedArray) else cells
    if pa.types.is_boolean(whole.type):
        # As Python and pandas write them, also into a text file with new rows.
        whole = pc.if_else(whole, "True", "False")
    if not pa.types.is_dictionary(whole.type):
        whole = pc.dictionary_encode(pc.cast(whole, pa.string()))
    different = [str(value).strip() for value in whole.dictionary.to_pylist()]
    places = whole.indices.fill_null(len(different)).to_numpy()
    return _of_places(name, ["" if text in MISSING_TEXTS else text for text in (*different, "")], places)


def _of_texts(name: str, texts: list[str], gaps: int, kind: FoundKind | None = None) -> Found:
    labels, places = np.unique(np.array(texts, dtype=object), return_inverse=True)
    found = _classified(name, tuple(map(str, labels)), places)
    return found if kind is None else Found(**{**vars(found), "kind": kind, "gaps": gaps})


def _of_places(name: str, texts: list[str], places: Array) -> Found:
    """Returns a column of text from indices into a list that may have duplicates and unused values."""
    numbers = _as_numbers(texts)
    if numbers is not None:
        return _of_numbers(name, numbers[places])
    used = sorted({texts[place] for place in np.flatnonzero(np.bincount(places))})
    at = {text: place for place, text in enumerate(used)}
    new = np.array([at.get(text, 0) for text in texts], dtype=np.min_scalar_type(len(used)))
    return _classified(name, tuple(used), new[places])


def _as_numbers(texts: list[str]) -> Array | None:
    """Returns the texts as numbers if all of them are numbers, such as numbers in quotes."""
    try:
        return np.array([float(text) if text else np.nan for text in texts])
    except ValueError:
        return None


def _classified(name: str, labels: tuple[str, ...], places: Array) -> Found:
    gaps = int((places == labels.index("")).sum()) if "" in labels else 0
    known = [label for label in labels if label]
    kind: FoundKind = "category"
    if not known:
        kind = "empty"
    elif all(map(_DATE.fullmatch, known[:_LOOKED_AT])):
        kind = "date"
    elif len(labels) == 1:
        kind = "constant"
    elif len(known) == len(places) >= _FEWEST_NAMED_ROWS:
        kind = "id"
    return Found(name=name, kind=kind, gaps=gaps, places=places, labels=labels)
