"""What each column of a table holds: numbers, categories, dates, one value, nothing, or names of rows."""

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

FoundKind = Literal["number", "category", "date", "constant", "empty", "id"]

_DATE = re.compile(r"\d{1,4}([-/.])\d{1,2}\1\d{1,4}([T ].*)?")
_LOOKED_AT = 100
_FEWEST_NAMED_ROWS = 20
_MOST_SHOWN = 4


@dataclass(frozen=True, kw_only=True)
class Found:
    """A column as it was found.

    Args:
        name: Of the column.
        kind: What it holds.
        gaps: Empty cells.
        values: Its numbers, float64 with NaN for an empty cell; `None` of text.
        places: Of text: the place of each cell in `labels`.
        labels: Of text: its different values, sorted; `""` stands for an empty cell.
    """

    name: str
    kind: FoundKind
    gaps: int = 0
    values: Array | None = None
    places: Array | None = None
    labels: tuple[str, ...] = ()

    @property
    def infinities(self) -> int:
        """Numbers that are infinite."""
        return 0 if self.values is None else int(np.isinf(self.values).sum())

    @property
    def counts_rows(self) -> bool:
        """Whether it is 0, 1, 2, ... or 1, 2, 3, ..., as a number of the row is."""
        values = self.values
        if values is None or len(values) < _FEWEST_NAMED_ROWS or values[0] not in (0, 1):
            return False
        return bool((values - values[0] == np.arange(len(values))).all())

    def as_category(self) -> Found:
        """The same column with its numbers as categories."""
        if self.values is None:
            return self
        texts = ["" if np.isnan(value) else number_text(value) for value in self.values]
        return _of_texts(self.name, texts, self.gaps)

    def text(self, row: int) -> str:
        """One cell as text."""
        if self.places is not None:
            return self.labels[int(self.places[row])]
        value = float("nan") if self.values is None else float(self.values[row])
        return "" if np.isnan(value) else number_text(value)

    def describe(self) -> str:
        """What it holds, in a line."""
        if self.kind == "number" and self.values is not None:
            known = self.values[np.isfinite(self.values)]
            span = f"{known.min():g} to {known.max():g}, mean {known.mean():.4g}" if len(known) else ""
            return span + ("; counts the rows, likely an id" if self.counts_rows else "")
        labels = [label for label in self.labels if label]
        shown = ", ".join(labels[:_MOST_SHOWN]) + (", ..." if len(labels) > _MOST_SHOWN else "")
        return f"{len(labels)} different: {shown}" if labels else ""


def number_text(value: float) -> str:
    """A number as a file would have it: whole ones without a point.

    >>> number_text(3.0), number_text(0.5)
    ('3', '0.5')
    """
    return str(int(value)) if float(value).is_integer() and abs(value) < 1e15 else repr(float(value))


def find_kinds(table: Table) -> Mapping[str, Found]:
    """Returns what each column holds, by name, in the order of the table."""
    return {name: _found(name, table.columns.column(name)) for name in table.names}


def _found(name: str, cells: Any) -> Found:
    gaps = int(cells.null_count)
    if gaps == len(cells):
        return Found(name=name, kind="empty", gaps=gaps)
    kind = cells.type
    if pa.types.is_temporal(kind):
        texts = pc.cast(cells, pa.string()).to_pylist()
        return _of_texts(name, [text or "" for text in texts], gaps, kind="date")
    if pa.types.is_integer(kind) or pa.types.is_floating(kind) or pa.types.is_decimal(kind):
        return _of_numbers(name, pc.cast(cells, pa.float64(), safe=False).to_numpy())
    return _of_dictionary(name, cells)


def _of_numbers(name: str, values: Array) -> Found:
    known = values[~np.isnan(values)]
    if not len(known):
        return Found(name=name, kind="empty", gaps=len(values))
    is_constant = len(known) == len(values) and bool((known == known[0]).all())
    gaps = len(values) - len(known)
    return Found(name=name, kind="constant" if is_constant else "number", gaps=gaps, values=values)


def _of_dictionary(name: str, cells: Any) -> Found:
    whole = cells.combine_chunks() if isinstance(cells, pa.ChunkedArray) else cells
    if not pa.types.is_dictionary(whole.type):
        whole = pc.dictionary_encode(pc.cast(whole, pa.string()))
    different = [str(value).strip() for value in whole.dictionary.to_pylist()]
    places = whole.indices.fill_null(len(different)).to_numpy().astype(np.intp)
    return _of_places(name, ["" if text in MISSING_TEXTS else text for text in (*different, "")], places)


def _of_texts(name: str, texts: list[str], gaps: int, kind: FoundKind | None = None) -> Found:
    labels, places = np.unique(np.array(texts, dtype=object), return_inverse=True)
    found = _classified(name, tuple(map(str, labels)), places)
    return found if kind is None else Found(**{**vars(found), "kind": kind, "gaps": gaps})


def _of_places(name: str, texts: list[str], places: Array) -> Found:
    """Text by place in a list that may name a value twice, or one that does not occur."""
    numbers = _as_numbers(texts)
    if numbers is not None:
        return _of_numbers(name, numbers[places])
    used = sorted({texts[place] for place in np.unique(places)})
    at = {text: place for place, text in enumerate(used)}
    return _classified(name, tuple(used), np.array([at.get(text, 0) for text in texts])[places])


def _as_numbers(texts: list[str]) -> Array | None:
    """The numbers that texts are, where all are, such as those in quotes."""
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
