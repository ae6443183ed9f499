"""Results as data frames."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    import pandas as pd


def frame_of(records: Sequence[Mapping[str, Any]], index: str | None = None) -> pd.DataFrame:
    """Returns records as a data frame of pandas, with a column for each key.

    Args:
        records: One for each row; a key that one lacks is missing in its row.
        index: The key of the index; by default the rows are numbered.
    """
    import pandas as pd

    frame = pd.DataFrame.from_records([dict(record) for record in records])
    return frame if index is None or index not in frame else frame.set_index(index)
