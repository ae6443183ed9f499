"""The forms in which data are accepted as a dataset: from a caller, and from the user's own code."""

from __future__ import annotations

from typing import Any

from regplug.data.arrays import raw_from_arrays
from regplug.data.items import as_items, raw_from_items
from regplug.data.raw import RawData
from regplug.data.tables import raw_from_table
from regplug.tables.options import TableOptions
from regplug.tables.taking import is_frame, take_frame, with_target

ACCEPTED = "a data frame, (x, y), a torch.utils.data.Dataset, or a regplug.data.RawData"


def raw_from_any(value: Any, *, seed: int, name: str) -> RawData | None:
    """Returns data of an accepted form as a dataset, and `None` for anything else.

    Args:
        value: A `RawData`, a data frame, arrays `(x, y)`, or map-style datasets; the last column of a frame is the
            target.
        seed: The data's seed.
        name: Of the dataset.

    Raises:
        DataError: The data cannot be used.
    """
    if isinstance(value, RawData):
        return value
    if items := as_items(value):
        return raw_from_items(items, seed=seed, name=name)
    is_pair = isinstance(value, tuple | list) and len(value) == 2
    if is_frame(value) or (is_pair and is_frame(value[0])):
        frame, options = with_target(*value) if is_pair else (value, TableOptions())
        return raw_from_table(take_frame(frame), options, seed=seed, name=name)
    return raw_from_arrays(*value, seed=seed, name=name) if is_pair else None
