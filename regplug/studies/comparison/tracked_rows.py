"""Reads the metrics of tracked runs on each test row."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace

from regplug.runs.row_files import read_rows
from regplug.statistics import ROW_METRICS, StudyRun
from regplug.studies.design.child_configs import POINT_TAG
from regplug.tracking import RunInfo, Store


def with_rows(store: Store, runs: Sequence[StudyRun], infos: Sequence[RunInfo], metric: str) -> tuple[StudyRun, ...]:
    """Returns the runs with their metrics on each test row, if these can be used and were kept.

    Args:
        store: The store.
        runs: The runs.
        infos: The same as tracked.
        metric: The compared metric.
    """
    split, _, name = metric.rpartition("/")
    is_shared = len({(run.key.data_seed, run.key.fold) for run in runs}) == 1
    homes = {info.run_id: info.parent_id or info.run_id for info in infos}
    if split != "test" or name not in ROW_METRICS or not is_shared:
        return tuple(runs)
    files = {home: read_rows(store, home) for home in dict.fromkeys(homes.values())}
    keys = {info.run_id: info.tags.get(POINT_TAG, "") if info.parent_id else "" for info in infos}
    return tuple(replace(run, rows=files[homes[run.run_id]].get(keys[run.run_id])) for run in runs)
