"""Takes data frames of pandas, polars and others as Arrow tables."""

from __future__ import annotations

import datetime
from collections.abc import Mapping
from decimal import Decimal
from typing import Any

import numpy as np
import pyarrow as pa

from regplug.errors import DataError
from regplug.tables.options import TableOptions, join_targets
from regplug.tables.reading import Table, check_names, checked_table


def take_frame(frame: Any) -> Table:
    """Takes a data frame; the index of a pandas frame is left out.

    Raises:
        DataError: A column has values that are neither numbers nor text, or names are not unique.
    """
    if not _is_pandas(frame):
        columns = _arrow(frame)
        check_names("the data frame", columns.column_names)
        return checked_table(Table(source="the data frame", columns=columns))
    names = [str(name) for name in frame.columns]
    check_names("the data frame", names)
    arrays = [_array(name, frame.iloc[:, position]) for position, name in enumerate(names)]
    return checked_table(Table(source="the data frame", columns=pa.table(arrays, names=names)))


def take_splits(frames: Mapping[str, Any], source: str) -> Table:
    """Takes data frames that are the splits of one table.

    Args:
        frames: Data frame by split: train, and perhaps valid and test. One alone is not split yet.
        source: Where they come from, for messages.

    Raises:
        DataError: A frame cannot be taken, or columns of two frames have different types.
    """
    taken = [take_frame(frame) for frame in frames.values()]
    try:
        columns = pa.concat_tables([table.columns for table in taken], promote_options="permissive")
    except pa.ArrowException as error:
        reason = " ".join(str(error).split())
        raise DataError(f"{source}: the splits do not fit together: {reason}", hint="Give them equal types.") from error
    sizes = tuple((name, len(table)) for name, table in zip(frames, taken, strict=True))
    return Table(source=source, columns=columns, splits=sizes if len(sizes) > 1 else ())


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


_CELLS = (str, bool, np.bool_, int, float, np.number, Decimal, datetime.date)
"""Types of the cells of a column of objects; a time is a date, too."""


def _array(name: str, series: Any) -> Any:
    """Returns a column of a pandas frame as Arrow's.

    Raises:
        DataError: Its values are neither numbers, text, truth values nor dates.
    """
    if series.dtype == object:
        series = _plain_objects(name, series)
    elif hasattr(series, "sparse"):
        series = series.sparse.to_dense()
    elif getattr(series.dt if hasattr(series, "dt") else None, "tz", None) is not None:
        series = series.dt.tz_convert("UTC").dt.tz_localize(None)
    try:
        return pa.Array.from_pandas(series)
    except pa.ArrowException as error:
        raise _strange(name, str(series.dtype)) from error


def _plain_objects(name: str, series: Any) -> Any:
    kinds = {type(value) for value in series.dropna()}
    if odd := [kind for kind in kinds if not issubclass(kind, _CELLS)]:
        raise _strange(name, odd[0].__name__)
    if any(issubclass(kind, str) for kind in kinds):
        return series.map(str, na_action="ignore")
    are_numbers = all(issubclass(kind, int | float | np.number | Decimal) and kind is not bool for kind in kinds)
    return series.astype(float) if kinds and are_numbers else series


def _strange(name: str, kind: str) -> DataError:
    return DataError(
        f"Column {name} of the data frame has values of type {kind}.",
        hint="Cells must be numbers, text, booleans or dates.",
    )
