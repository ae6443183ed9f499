"""A table of the user's own, read from a file."""

from __future__ import annotations

import dataclasses
from pathlib import Path

from regplug.api import DataContext
from regplug.data import RawData, raw_from_table
from regplug.errors import DataError
from regplug.tables.options import TableOptions
from regplug.tables.reading import read_table
from regplug_datasets import TableParams


def table(params: TableParams, context: DataContext) -> RawData:
    """Returns the rows of a file, split by groups, in an order, or with the same share of each class.

    Raises:
        DataError: The file or a column does not exist, or cannot be used; the message names file, line and column.
    """
    if not params.path:
        raise DataError("Dataset table needs a file.", hint="For example --dataset my.csv --target price.")
    path = Path(params.path).expanduser()
    options = TableOptions(**{one.name: getattr(params, one.name) for one in dataclasses.fields(TableOptions)})
    return raw_from_table(read_table(path, params.delimiter, options), options, seed=context.data_seed, name=path.stem)
