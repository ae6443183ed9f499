"""Writes MLflow's tables directly, for the versions of MLflow whose tables are known. No other module does.

With any other version regplug uses MLflow's public client, which gives the same result more slowly.
"""

from __future__ import annotations

import sqlite3
import time
import uuid
from collections.abc import Iterator, Mapping, Sequence
from contextlib import closing
from importlib.metadata import version
from pathlib import Path
from typing import Any

from regplug.tracking import limits
from regplug.tracking.children import ChildRun, Point
from regplug.tracking.columns import DEFAULTS_TAG, Columns, defaults_of, missing
from regplug.tracking.datasets import CONTEXT_TAG, TRAINING_CONTEXT
from regplug.tracking.files import write_texts
from regplug.tracking.naming import safe_key
from regplug.tracking.trouble import is_lost_race

KNOWN_VERSIONS = ("3.17",)
"""Versions of MLflow for which the rows written here were compared with those that MLflow writes."""

_POINTS_A_TRANSACTION = 50_000
_INSERT_ROWS = 10_000
_MOST_RACES = 5

_SETTLE = """
    UPDATE experiments
    SET artifact_location = :root || '/' || experiment_id, creation_time = :now, last_update_time = :now
"""
"""A new store has one experiment, the only row that depends on location and time."""


def are_known() -> bool:
    """Returns whether the tables of the installed MLflow are known.

    >>> KNOWN_VERSIONS[-1]
    '3.17'
    """
    return ".".join(version("mlflow").split(".")[:2]) in KNOWN_VERSIONS


def settle(database: Path, artifacts: str | None) -> bool:
    """Updates location and time in a copy of an empty SQLite store; returns whether the copy is valid.

    Args:
        database: The copy.
        artifacts: The folder of files of the store's experiments.
    """
    with closing(sqlite3.connect(database)) as connection, connection:
        connection.execute(_SETTLE, {"root": artifacts, "now": int(time.time() * 1000)})
        sound: bool = connection.execute("PRAGMA quick_check").fetchone() == ("ok",)
    return sound


def write_children(
    sql_store: Any, experiment_id: str, parent_id: str, user: str, children: Sequence[ChildRun], columns: Columns
) -> Iterator[list[str]]:
    """Writes children into MLflow's tables in few transactions, with the rows that MLflow's own store would write.

    MLflow's `log_batch` creates an object for each point: 4 s of CPU for 128 children of 200 points, ten times as much.

    Args:
        sql_store: MLflow's SQL store.
        experiment_id: The experiment of the parent.
        parent_id: The study's run.
        user: The user who runs it.
        children: The runs, whose datasets are in the store.
        columns: The columns of the experiment.

    Yields:
        The ids of each written group of children, in order.
    """
    experiment = sql_store.get_experiment(experiment_id)
    for group in _groups(children):
        rows = _Rows(sql_store, experiment, parent_id, user, columns)
        run_ids = [rows.add(child) for child in group]
        for run_id, child in zip(run_ids, group, strict=True):
            # Before the rows: a retry after a failure must not write these again.
            write_texts(rows.artifact_uri(run_id), child.files)
        with sql_store.ManagedSessionMaker(read_only=False) as session:
            rows.insert(session)
            rows.insert_inputs(session, dict(zip(run_ids, group, strict=True)))
        yield run_ids


def _groups(children: Sequence[ChildRun]) -> Iterator[list[ChildRun]]:
    """Yields groups of children with about as many points as one transaction should have."""
    group: list[ChildRun] = []
    points = 0
    for child in children:
        if group and points + len(child.metrics) > _POINTS_A_TRANSACTION:
            yield group
            group, points = [], 0
        group.append(child)
        points += len(child.metrics)
    if group:
        yield group


def fill_columns(sql_store: Any, experiment_id: str, columns: Columns) -> None:
    """Logs columns in all runs of an experiment that lack them; see `ColumnBook.fill`.

    Args:
        sql_store: MLflow's SQL store.
        experiment_id: The experiment.
        columns: The columns.
    """
    from mlflow.exceptions import MlflowException

    for left in reversed(range(_MOST_RACES)):
        try:
            with sql_store.ManagedSessionMaker(read_only=False) as session:
                _insert_lacking(session, int(experiment_id), columns)
        except MlflowException as error:
            if not left or not is_lost_race(error):
                raise
        else:
            return


def _insert_lacking(session: Any, experiment_id: int, columns: Columns) -> None:
    from mlflow.store.tracking.dbmodels.models import SqlParam, SqlRun, SqlTag
    from sqlalchemy import insert

    own: Any = SqlRun.experiment_id == experiment_id
    key: Any = SqlParam.key
    tags = session.query(SqlTag.run_uuid, SqlTag.value).join(SqlRun, SqlRun.run_uuid == SqlTag.run_uuid)
    defaults = tags.filter(own, SqlTag.key == DEFAULTS_TAG).all()
    params = session.query(SqlParam.run_uuid, SqlParam.key).join(SqlRun, SqlRun.run_uuid == SqlParam.run_uuid)
    known: dict[str, set[str]] = {run_id: set() for run_id, _ in defaults}
    for run_id, name in params.filter(own, key.in_(list(columns))):
        known.setdefault(run_id, set()).add(name)
    rows = [
        {"run_uuid": run_id, "key": name, "value": text}
        for run_id, tag in defaults
        for name, text in missing(known[run_id], defaults_of({DEFAULTS_TAG: tag}), columns).items()
    ]
    for some in limits.chunks(rows, _INSERT_ROWS):
        session.execute(insert(SqlParam.__table__), some)


class _Rows:
    """The rows of several children, by table."""

    def __init__(self, sql_store: Any, experiment: Any, parent_id: str, user: str, columns: Columns) -> None:
        self._sql_store, self._columns = sql_store, columns
        self._experiment = experiment
        self._parent_id = parent_id
        self._user = user
        self._runs: list[dict[str, object]] = []
        self._tags: list[dict[str, object]] = []
        self._params: list[dict[str, object]] = []
        self._metrics: list[dict[str, object]] = []
        self._latest: list[dict[str, object]] = []

    def artifact_uri(self, run_id: str) -> str:
        """Returns the folder of a run's files."""
        return f"{self._experiment.artifact_location.rstrip('/')}/{run_id}/artifacts"

    def add(self, child: ChildRun) -> str:
        """Adds a child and returns its new id."""
        run_id = uuid.uuid4().hex
        start, end = child.times_ms()
        self._runs.append(
            {
                "run_uuid": run_id,
                "name": child.name,
                "experiment_id": int(self._experiment.experiment_id),
                "artifact_uri": self.artifact_uri(run_id),
                "source_type": "UNKNOWN",
                "source_name": "",
                "entry_point_name": "",
                "source_version": "",
                "user_id": self._user,
                "status": child.status,
                "start_time": start,
                "end_time": end,
                "lifecycle_stage": "active",
            }
        )
        tags = child.plain_tags(self._parent_id, self._user)
        self._tags += [{"run_uuid": run_id, "key": key, "value": text} for key, text in tags.items()]
        params = child.plain_params(self._columns)
        self._params += [{"run_uuid": run_id, "key": key, "value": text} for key, text in params.items()]
        self._add_metrics(run_id, child.metrics)
        return run_id

    def _add_metrics(self, run_id: str, points: Sequence[Point]) -> None:
        latest: dict[str, tuple[int, int, float]] = {}
        newest: dict[str, dict[str, object]] = {}
        seen = set()
        keys = {key: safe_key(key) for key in {point[0] for point in points}}
        for name, number, step, stamp in points:
            is_nan, value = self._sql_store.sanitize_metric_value(float(number))
            identity = (keys[name], stamp, step, value, is_nan)
            if identity in seen:
                continue
            seen.add(identity)
            row = dict(zip(("key", "timestamp", "step", "value", "is_nan"), identity, strict=True), run_uuid=run_id)
            self._metrics.append(row)
            # MLflow's order for finding the last value.
            order = (step, stamp, value)
            if keys[name] not in latest or order > latest[keys[name]]:
                latest[keys[name]], newest[keys[name]] = order, row
        self._latest += newest.values()

    def insert(self, session: Any) -> None:
        """Writes the rows; they are committed at the end of the session."""
        from mlflow.store.tracking.dbmodels.models import SqlLatestMetric, SqlMetric, SqlParam, SqlRun, SqlTag
        from sqlalchemy import insert

        tables = (
            (SqlRun, self._runs),
            (SqlTag, self._tags),
            (SqlParam, self._params),
            (SqlMetric, self._metrics),
            (SqlLatestMetric, self._latest),
        )
        for table, rows in tables:
            for some in limits.chunks(rows, _INSERT_ROWS):
                session.execute(insert(table.__table__), some)

    def insert_inputs(self, session: Any, children: Mapping[str, ChildRun]) -> None:
        """Writes which run used which dataset.

        Args:
            session: The session.
            children: Run id -> the child.
        """
        from mlflow.store.tracking.dbmodels.models import SqlDataset, SqlInput, SqlInputTag
        from sqlalchemy import insert

        used = {run_id: child.dataset.key for run_id, child in children.items() if child.dataset is not None}
        if not used:
            return
        experiment_id = int(self._experiment.experiment_id)
        known = session.query(SqlDataset).filter(SqlDataset.experiment_id == experiment_id)
        ids = {(one.name, one.digest): one.dataset_uuid for one in known}
        inputs = [
            {
                "input_uuid": uuid.uuid4().hex,
                "source_type": "DATASET",
                "source_id": ids[key],
                "destination_type": "RUN",
                "destination_id": run_id,
            }
            for run_id, key in used.items()
        ]
        tags = [{"input_uuid": one["input_uuid"], "name": CONTEXT_TAG, "value": TRAINING_CONTEXT} for one in inputs]
        for table, rows in ((SqlInput, inputs), (SqlInputTag, tags)):
            for some in limits.chunks(rows, _INSERT_ROWS):
                session.execute(insert(table.__table__), some)
