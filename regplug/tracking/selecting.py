"""Selects and sorts runs of a store for a list: what the database can do, it does. Does not import mlflow."""

from __future__ import annotations

import math
import re
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta

from regplug.errors import RequestError, did_you_mean
from regplug.tracking.kinds import STUDY_TAG, is_interrupted, kind_of
from regplug.tracking.naming import safe_key
from regplug.tracking.reading import RunInfo

STATUSES = ("running", "finished", "failed", "killed", "stale", "interrupted")
"""What `Selection.statuses` may contain; stale and interrupted are not statuses of MLflow."""

_ATTRIBUTES = {"started": "start_time", "ended": "end_time", "run": "run_name", "status": "status", "id": "run_id"}
"""Columns that MLflow can sort by -> its name for them."""

_DURATION = re.compile(r"(\d+(?:\.\d+)?)(s|m|h|d|w)")
_UNITS_S = {"s": 1, "m": 60, "h": 3600, "d": 86400, "w": 604800}


@dataclass(frozen=True, kw_only=True)
class Selection:
    """Which runs are listed, and in which order.

    Args:
        statuses: Any of `STATUSES`; empty for all.
        model: Name of the model; empty for all.
        dataset: Name of the dataset; empty for all.
        reg: Name of a regularizer; empty for all.
        since: Only runs that started then or later.
        text: A filter in MLflow's language; empty for none.
        study: Id of a study: only its runs; empty for all.
        kind: `study` for studies alone, `whole` without the runs of studies, empty for all.
        sort: A column, with `-` in front of it for the greatest first; empty for the newest first.
    """

    statuses: Sequence[str] = ()
    model: str = ""
    dataset: str = ""
    reg: str = ""
    since: datetime | None = None
    text: str = ""
    study: str = ""
    kind: str = ""
    sort: str = ""

    def __post_init__(self) -> None:
        for status in self.statuses:
            if status not in STATUSES:
                raise RequestError(f"There is no status {status!r}.", hint=did_you_mean(status, STATUSES))

    @property
    def where(self) -> str:
        """The part of the selection that MLflow's filter can express."""
        parts = [f"attributes.status != '{status}'" for status in self._excluded()]
        if self.since is not None:
            parts.append(f"attributes.start_time >= {int(self.since.timestamp() * 1000)}")
        if self.study:
            parts.append(f"tags.`mlflow.parentRunId` = '{self.study}'")
        if self.kind == "study":
            parts.append(f"tags.`{STUDY_TAG}` IS NOT NULL")
        if self.kind or ("interrupted" in self.statuses and len(self.statuses) == 1):
            parts.append("tags.`mlflow.parentRunId` IS NULL")
        for column, name in (("model", self.model), ("dataset", self.dataset), ("regularizers", self.reg)):
            if name:
                parts.append(f"params.`{column}` LIKE '%{_plain(name)}%'")
        if self.text:
            parts.append(self.text)
        return " AND ".join(parts)

    @property
    def is_by_attribute(self) -> bool:
        """Whether MLflow sorts by a property of the run itself, which is fast."""
        return self.sort.removeprefix("-") in {"", *_ATTRIBUTES}

    @property
    def order(self) -> str:
        """The order as MLflow's clause; empty if only `in_order` can sort."""
        column, direction = self.sort.removeprefix("-"), "DESC" if self.sort.startswith("-") else "ASC"
        if not column:
            return "attributes.start_time DESC"
        if column in _ATTRIBUTES:
            return f"attributes.{_ATTRIBUTES[column]} {direction}"
        name = column.removeprefix("metrics.")
        return f"metrics.`{safe_key(name)}` {direction}" if "/" in name else ""

    def suits(self, run: RunInfo) -> bool:
        """Returns whether a run that MLflow's filter selected belongs to the selection."""
        named = (("model", self.model), ("dataset", self.dataset), ("regularizers", self.reg))
        if any(wanted and wanted not in _names(run.params.get(column, "")) for column, wanted in named):
            return False
        return not self.statuses or any(_IS[status](run) for status in self.statuses)

    def in_order(self, runs: Sequence[RunInfo]) -> list[RunInfo]:
        """Returns runs sorted by a column, as numbers where they are numbers; NaN and those without it come last."""
        column, is_reversed = self.sort.removeprefix("-"), self.sort.startswith("-")
        values = {run.run_id: value_of(run, column) for run in runs}
        by_value = sorted(runs, key=lambda run: _sortable(values[run.run_id]), reverse=is_reversed)
        return sorted(by_value, key=lambda run: _missing(values[run.run_id]))

    def _excluded(self) -> list[str]:
        """The statuses of MLflow that no wanted status can have."""
        wanted = {
            "stale": {"RUNNING"},
            "interrupted": {"RUNNING", "KILLED", "FAILED"},
        }
        kept = {each for status in self.statuses for each in wanted.get(status, {status.upper()})}
        return sorted({"RUNNING", "FINISHED", "FAILED", "KILLED", "SCHEDULED"} - kept) if kept else []


_IS: dict[str, Callable[[RunInfo], bool]] = {
    "running": lambda run: run.status == "RUNNING" and not run.is_stale,
    "finished": lambda run: run.status == "FINISHED",
    "failed": lambda run: run.status == "FAILED",
    "killed": lambda run: run.status == "KILLED",
    "stale": lambda run: run.is_stale,
    "interrupted": is_interrupted,
}


def value_of(run: RunInfo, column: str) -> str | float | None:
    """Returns a metric, a parameter, a tag or a property of a run by the name of a column; `None` without one."""
    own: dict[str, str | float | None] = {
        "id": run.run_id,
        "run": run.name,
        "experiment": run.experiment,
        "status": run.status,
        "kind": kind_of(run),
        "seconds": (run.ended - run.started).total_seconds() if run.ended else None,
        "started": run.started.isoformat(),
        "ended": run.ended.isoformat() if run.ended else None,
    }
    if column in own:
        return own[column]
    tables: dict[str, Mapping[str, str | float]] = {"metrics": run.metrics, "params": run.params, "tags": run.tags}
    table, _, rest = column.partition(".")
    if table in tables:
        return tables[table].get(safe_key(rest), tables[table].get(rest))
    named = (values.get(safe_key(column), values.get(column)) for values in tables.values())
    return next((value for value in named if value is not None), None)


def read_since(text: str, now: datetime) -> datetime:
    """Reads a point in time: `2h`, `3d`, or a date such as 2026-01-31 with or without a time.

    >>> read_since("2d", datetime(2026, 1, 31)).isoformat()
    '2026-01-29T00:00:00'

    Raises:
        RequestError: It is neither.
    """
    found = _DURATION.fullmatch(text)
    try:
        if found is not None:
            return now - timedelta(seconds=float(found[1]) * _UNITS_S[found[2]])
        at = datetime.fromisoformat(text)
    except (ValueError, OverflowError):
        raise RequestError(
            f"{text!r} is no point in time.", hint="Write 30m, 2h, 3d, 1w, or a date such as 2026-01-31."
        ) from None
    return at if at.tzinfo else at.replace(tzinfo=now.tzinfo)


def _names(text: str) -> set[str]:
    """Returns the names in a parameter such as `l2+dropout@wide` or `mlp:hidden=[8]`, with and without aliases."""
    parts = [text.partition(":")[0], *(part.partition(":")[0] for part in text.split("+"))]
    return {name for part in parts for name in (part, part.partition("@")[0], part.rpartition("/")[2])}


def _plain(name: str) -> str:
    """Returns a name as it may stand in MLflow's filter, which has no escape.

    Raises:
        RequestError: It contains a quote or a wildcard.
    """
    if set(name) & set("'\"%`"):
        raise RequestError(f"{name!r} is no component's name.", hint="`regplug plugins list` shows the names.")
    return name


def _sortable(value: str | float | None) -> tuple[bool, float, str]:
    """Returns a key that sorts numbers before texts."""
    number = _number(value)
    return (True, 0.0, str(value)) if number is None or math.isnan(number) else (False, number, "")


def _missing(value: str | float | None) -> int:
    """Returns 0 for a value, 1 for NaN, 2 for none: so MLflow sorts metrics in both directions."""
    number = _number(value)
    return 2 if value is None else int(number is not None and math.isnan(number))


def _number(value: str | float | None) -> float | None:
    try:
        return None if value is None else float(value)
    except ValueError:
        return None
