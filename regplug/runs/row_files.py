"""Stores the metrics of runs on each test row with the tracked run, and reads them again."""

from __future__ import annotations

import io
from collections.abc import Mapping
from typing import Any

import numpy as np

from regplug.statistics import RowValues
from regplug.tracking import Store, TrackedRun

ROWS_FOLDER = "test_rows"
"""Folder of a run's files: one for a single run, one for each stack of a study."""

_KEYS, _DIGESTS, _ROWS = "keys", "digests", "rows"


def keep_rows(tracked: TrackedRun, runs: Mapping[str, RowValues], name: str) -> None:
    """Stores the metrics on each test row as a NumPy archive: for each metric an array `(runs, rows)`.

    An array of yes and no is packed into bits.

    Args:
        tracked: The run, or the study.
        runs: The values of each run by its key; all have the same metrics and number of rows.
        name: The file's name without its ending.
    """
    if not runs:
        return
    each = list(runs.values())
    arrays: dict[str, Any] = {_KEYS: np.array(list(runs)), _DIGESTS: np.array([rows.digest for rows in each])}
    for metric in each[0].values:
        stacked = np.stack([rows.values[metric] for rows in each])
        arrays[_ROWS] = np.array(stacked.shape[1])
        arrays[f"metric:{metric}"] = np.packbits(stacked, axis=1) if stacked.dtype == np.bool_ else stacked
    buffer = io.BytesIO()
    np.savez(buffer, **arrays)
    tracked.log_bytes(buffer.getvalue(), f"{ROWS_FOLDER}/{name}.npz")


def read_rows(store: Store, run_id: str) -> dict[str, RowValues]:
    """Reads what `keep_rows` stored with a run, by the runs' keys; empty if there is nothing."""
    if ROWS_FOLDER not in store.artifact_names(run_id):
        return {}
    found: dict[str, RowValues] = {}
    for path in sorted(store.artifact_names(run_id, ROWS_FOLDER)):
        with np.load(store.read_artifact(run_id, path), allow_pickle=False) as arrays:
            found |= _of_file(arrays)
    return found


def _of_file(arrays: Mapping[str, Any]) -> dict[str, RowValues]:
    count = int(arrays[_ROWS])
    metrics = {}
    for name in arrays:
        if name.startswith("metric:"):
            values = arrays[name]
            is_packed = values.dtype == np.uint8
            metrics[name.removeprefix("metric:")] = (
                np.unpackbits(values, axis=1, count=count).astype(np.bool_) if is_packed else values
            )
    return {
        str(key): RowValues(digest=str(digest), values={name: each[at] for name, each in metrics.items()})
        for at, (key, digest) in enumerate(zip(arrays[_KEYS], arrays[_DIGESTS], strict=True))
    }
