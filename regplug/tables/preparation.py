"""Turns cells of a table into the numbers that a network takes; can be written as JSON. Needs only numpy.

Shape letters: B rows, C columns of the table, F features.

A table is stored as codes, float32 `(B, C)`. The code of a number is the number, or NaN for an empty cell. The code of
a category is its index in the column's list, or the length of that list if it is rare or was not seen in training.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass
from typing import Any, Literal

import numpy as np
from numpy.typing import NDArray

Array = NDArray[Any]
ColumnKind = Literal["number", "category"]

MISSING_TEXTS = (
    "",
    "#N/A",
    "#NA",
    "-NaN",
    "-nan",
    "<NA>",
    "N/A",
    "NA",
    "NULL",
    "NaN",
    "None",
    "n/a",
    "nan",
    "null",
)
"""Texts that mean a missing value."""

PROVING_ROWS = 64
"""Test rows whose cells a bundle contains, as many as the real rows among its samples."""

OTHER = "(other)"
"""Name of the feature for categories that are rare or were not seen in training."""


@dataclass(frozen=True, kw_only=True)
class Column:
    """One column of a table, the same for all folds.

    Args:
        name: Name of the column.
        kind: Its kind.
        categories: The categories with a feature of their own; `""` is one if cells may be empty.
        has_gaps: For numbers: whether cells were empty in the training rows, so that there is an indicator.
    """

    name: str
    kind: ColumnKind
    categories: tuple[str, ...] = ()
    has_gaps: bool = False

    @property
    def features(self) -> tuple[str, ...]:
        """Names of the features that a network gets for it."""
        if self.kind == "category":
            return tuple(f"{self.name}={label or '(missing)'}" for label in (*self.categories, OTHER))
        return (self.name, f"{self.name} is missing") if self.has_gaps else (self.name,)


@dataclass(frozen=True, kw_only=True)
class Fitted:
    """A column with the statistics of the training rows.

    Args:
        column: The column.
        fill: The value for empty cells of a column of numbers.
        grid: Ascending values if numbers are mapped to quantiles, else empty.
        scores: The new value for each value of the grid; interpolated linearly in between.
        shift: Subtracted from each value.
        scale: Each value is divided by it after that.
    """

    column: Column
    fill: float = 0.0
    grid: tuple[float, ...] = ()
    scores: tuple[float, ...] = ()
    shift: float = 0.0
    scale: float = 1.0

    def as_json(self) -> dict[str, Any]:
        """Returns the column as it is written in a manifest."""
        if self.column.kind == "category":
            return {"name": self.column.name, "kind": "category", "categories": list(self.column.categories)}
        numbers = {name: value for name, value in asdict(self).items() if name != "column"}
        lists = {name: list(numbers.pop(name)) for name in ("grid", "scores")}
        indicator = {"indicator": self.column.has_gaps}
        return {"name": self.column.name, "kind": "number", **indicator, **numbers, **lists}

    @classmethod
    def from_json(cls, part: Mapping[str, Any]) -> Fitted:
        """Reads it from a manifest."""
        if part["kind"] == "category":
            return cls(column=Column(name=part["name"], kind="category", categories=tuple(part["categories"])))
        return cls(
            column=Column(name=part["name"], kind="number", has_gaps=part["indicator"]),
            grid=tuple(part["grid"]),
            scores=tuple(part["scores"]),
            **{name: float(part[name]) for name in ("fill", "shift", "scale")},
        )


@dataclass(frozen=True, kw_only=True)
class Preparation:
    """Everything that is done to a row before the network gets it.

    Args:
        columns: In the order of the codes.
        rows: Cells of a few test rows, as text, with which a bundle is verified.
    """

    columns: tuple[Fitted, ...]
    rows: tuple[tuple[str, ...], ...] = ()

    @property
    def names(self) -> tuple[str, ...]:
        """Names of the table's columns."""
        return tuple(fitted.column.name for fitted in self.columns)

    @property
    def features(self) -> tuple[str, ...]:
        """Names of the features, `(F,)`."""
        return tuple(name for fitted in self.columns for name in fitted.column.features)

    def apply(self, codes_BC: Array) -> Array:
        """Returns the network's inputs, float32 `(B, F)`, for codes."""
        numbers_BF = np.zeros((len(codes_BC), len(self.features)), dtype=np.float32)
        start = 0
        for position, fitted in enumerate(self.columns):
            stop = start + len(fitted.column.features)
            _put(fitted, codes_BC[:, position], numbers_BF[:, start:stop])
            start = stop
        return numbers_BF

    def encode(self, cells: Sequence[Sequence[str]]) -> Array:
        """Returns codes, float32 `(B, C)`, for cells of text in the order of the columns.

        Raises:
            ValueError: A cell in a column of numbers is not a number; `args` are the row, the column and the cell.
        """
        columns = [
            _codes(fitted.column, [row[position].strip() for row in cells])
            for position, fitted in enumerate(self.columns)
        ]
        return np.stack(columns, axis=1)

    def as_json(self) -> dict[str, Any]:
        """Returns the preparation as it is written in a manifest."""
        columns = [fitted.as_json() for fitted in self.columns]
        return {"missing": list(MISSING_TEXTS), "columns": columns, "rows": [list(row) for row in self.rows]}

    @classmethod
    def from_json(cls, part: Mapping[str, Any]) -> Preparation:
        """Reads it from a manifest."""
        columns = tuple(Fitted.from_json(each) for each in part["columns"])
        return cls(columns=columns, rows=tuple(tuple(row) for row in part["rows"]))


def codes_of_labels(column: Column, labels: Sequence[str]) -> Array:
    """Returns the code of each label in a column of categories, float32 `(B,)`."""
    places = {label: place for place, label in enumerate(column.categories)}
    return np.array([places.get(label, len(places)) for label in labels], dtype=np.float32)


def _codes(column: Column, cells: Sequence[str]) -> Array:
    known = ["" if cell in MISSING_TEXTS else cell for cell in cells]
    if column.kind == "category":
        return codes_of_labels(column, known)
    return np.array([_number(column, row, cell) for row, cell in enumerate(known)], dtype=np.float32)


def _number(column: Column, row: int, cell: str) -> float:
    try:
        return float(cell) if cell else np.nan
    except ValueError:
        raise ValueError(row, column.name, cell) from None


def _put(fitted: Fitted, codes_B: Array, numbers_BF: Array) -> None:
    """Writes the features of one column into `numbers_BF`."""
    if fitted.column.kind == "category":
        numbers_BF[np.arange(len(codes_B)), codes_B.astype(np.intp)] = 1
        return
    gaps_B = np.isnan(codes_B)
    values_B = np.where(gaps_B, fitted.fill, codes_B.astype(np.float64))
    if fitted.grid:
        values_B = np.interp(values_B, fitted.grid, fitted.scores)
    numbers_BF[:, 0] = (values_B - fitted.shift) / fitted.scale
    if fitted.column.has_gaps:
        numbers_BF[:, 1] = gaps_B
