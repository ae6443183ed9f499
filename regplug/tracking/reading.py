"""Reads runs from the store: finds one, lists several, returns their metrics."""

from __future__ import annotations

import re
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from datetime import UTC, datetime
from typing import TYPE_CHECKING, Any

from regplug.config.values import is_utf8
from regplug.errors import RequestError, did_you_mean
from regplug.tracking.columns import defaults_of
from regplug.tracking.liveness import is_stale

if TYPE_CHECKING:
    from regplug.tracking.selecting import Selection

_RUN_ID = re.compile(r"[0-9a-f]{32}")
_PREFIX = re.compile(r"[0-9a-f]{4,31}")
_PAGE = 1000
_NEWEST = "attributes.start_time DESC"
_NEAR_NAMES_FROM = 500
_MOST_IDS = 500
"""Most ids in one filter: MLflow's parser takes at most some thousands of words."""


@dataclass(frozen=True, kw_only=True)
class RunInfo:
    """A run in the store.

    Args:
        run_id: Its id.
        name: Its name.
        experiment: Name of its experiment.
        experiment_id: Id of its experiment.
        status: RUNNING, FINISHED, FAILED or KILLED.
        is_stale: Whether it is RUNNING although its process is gone.
        started: Start time.
        ended: End time, or `None`.
        params: All parameters as text, also those that MLflow's tables do not show.
        tags: Tags.
        metrics: Last value of each metric.
        artifact_uri: The folder of its files.
    """

    run_id: str
    name: str
    experiment: str
    experiment_id: str
    status: str
    is_stale: bool
    started: datetime
    ended: datetime | None
    params: Mapping[str, str]
    tags: Mapping[str, str]
    metrics: Mapping[str, float]
    artifact_uri: str

    @property
    def parent_id(self) -> str | None:
        """Id of its study's run, or `None`."""
        return self.tags.get("mlflow.parentRunId")


@dataclass(frozen=True, kw_only=True)
class MetricPoint:
    """One value of a metric.

    Args:
        step: The step (epoch).
        value: The value; may be NaN.
        timestamp_ms: The time in milliseconds since the epoch.
    """

    step: int
    value: float
    timestamp_ms: int


def to_info(run: Any, experiment: str) -> RunInfo:
    """Returns MLflow's run as `RunInfo`."""
    tags = dict(run.data.tags)
    return RunInfo(
        run_id=run.info.run_id,
        name=run.info.run_name or tags.get("mlflow.runName", ""),
        experiment=experiment,
        experiment_id=str(run.info.experiment_id),
        status=run.info.status,
        is_stale=is_stale(run.info.run_id, run.info.status, tags),
        started=when(run.info.start_time or 0),
        ended=when(run.info.end_time) if run.info.end_time else None,
        params={**defaults_of(tags), **run.data.params},
        tags=tags,
        metrics=dict(run.data.metrics),
        artifact_uri=run.info.artifact_uri,
    )


def list_experiments(client: Any) -> dict[str, str]:
    """Returns the names of the experiments by id."""
    found: dict[str, str] = {}
    token = None
    while True:
        page = client.search_experiments(max_results=_PAGE, page_token=token)
        found |= {str(each.experiment_id): each.name for each in page}
        token = page.token
        if not token:
            return found


def search(
    client: Any,
    experiments: Mapping[str, str],
    filter_string: str = "",
    limit: int | None = None,
    *,
    order: str = _NEWEST,
    suits: Callable[[RunInfo], bool] | None = None,
) -> list[RunInfo]:
    """Returns runs, by default the newest first.

    Args:
        client: MLflow's client.
        experiments: The experiments to search, id -> name.
        filter_string: MLflow's filter.
        limit: Maximum number of runs.
        order: MLflow's order.
        suits: Returns whether a run that the filter selected is wanted; by default all are.
    """
    infos: list[RunInfo] = []
    for page in _pages(client, list(experiments), filter_string, limit, order):
        found = (to_info(run, experiments[str(run.info.experiment_id)]) for run in page)
        infos += [info for info in found if suits is None or suits(info)]
        if limit is not None and len(infos) >= limit:
            return infos[:limit]
    return infos


def _pages(
    client: Any, experiment_ids: Sequence[str], filter_string: str, limit: int | None, order: str
) -> Iterator[Any]:
    token = None
    while experiment_ids:
        page = client.search_runs(
            list(experiment_ids),
            filter_string=filter_string,
            max_results=min(_PAGE, limit or _PAGE),
            order_by=[order],
            page_token=token,
        )
        yield page
        token = page.token
        if not token:
            return


def select(
    client: Any, experiments: Mapping[str, str], selection: Selection, limit: int | None = None
) -> list[RunInfo]:
    """Returns the selected runs.

    Raises:
        RequestError: MLflow cannot read the filter.
    """
    with _filter_trouble(selection):
        order = selection.order or _NEWEST
        return search(client, experiments, selection.where, limit, order=order, suits=selection.suits)


def first_of(
    client: Any, experiments: Mapping[str, str], selection: Selection, run_ids: Sequence[str], limit: int
) -> list[RunInfo]:
    """Returns the first selected runs among ranked ones.

    Args:
        client: MLflow's client.
        experiments: The experiments to search, id -> name.
        selection: Which runs.
        run_ids: Ids of runs, in order.
        limit: Maximum number of runs.

    Raises:
        RequestError: MLflow cannot read the filter.
    """
    found: list[RunInfo] = []
    start, size = 0, min(limit, _MOST_IDS)
    while start < len(run_ids) and len(found) < limit:
        places = {run_id: place for place, run_id in enumerate(run_ids[start : start + size])}
        listed = ", ".join(f"'{run_id}'" for run_id in places)
        wanted = " AND ".join(part for part in (f"attributes.run_id IN ({listed})", selection.where) if part)
        with _filter_trouble(selection):
            some = search(client, experiments, wanted, suits=selection.suits)
        found += sorted(some, key=lambda run: places[run.run_id])
        start, size = start + size, min(4 * size, _MOST_IDS)
    return found[:limit]


@contextmanager
def _filter_trouble(selection: Selection) -> Iterator[None]:
    """Reports a filter that MLflow cannot read.

    Raises:
        RequestError: MLflow cannot read it.
    """
    from mlflow.exceptions import MlflowException

    try:
        yield
    except MlflowException as error:
        if not selection.text or error.error_code != "INVALID_PARAMETER_VALUE":
            raise
        reason = str(error).splitlines()[0]
        raise RequestError(
            f"MLflow cannot read the filter {selection.text!r}: {reason}",
            hint="Write it as in MLflow's UI, such as \"metrics.`test/accuracy` > 0.9 AND params.lr = '0.1'\".",
        ) from error


def status_of(client: Any, run_id: str) -> str | None:
    """Returns the status of a run, `DELETED` if it is deleted, or `None` if the store does not know it."""
    from mlflow.exceptions import MlflowException

    try:
        info = client.get_run(run_id).info
    except MlflowException as error:
        if error.error_code != "RESOURCE_DOES_NOT_EXIST":
            raise
        return None
    return "DELETED" if info.lifecycle_stage == "deleted" else str(info.status)


def find(client: Any, text: str) -> RunInfo:
    """Returns the run with an id, the beginning of an id (four characters or more) or a name.

    Raises:
        RequestError: No run matches, or several do.
    """
    if not is_utf8(text):
        raise RequestError(f"There is no run {text!r}: that is not valid UTF-8.")
    experiments = list_experiments(client)
    found: list[RunInfo] = []
    if _RUN_ID.fullmatch(text):
        found = search(client, experiments, f"attributes.run_id = '{text}'", limit=1)
    elif _PREFIX.fullmatch(text):
        found = search(client, experiments, f"attributes.run_id LIKE '{text}%'", limit=10)
    if not found:
        found = _named(client, experiments, text)
    if len(found) == 1:
        return found[0]
    if found:
        listed = "\n".join(
            f"  {run.run_id}  {run.name}  {run.started:%Y-%m-%d %H:%M:%S}  {run.status}" for run in found
        )
        raise RequestError(f"{text} matches several runs:\n{listed}", hint="Give more characters of one id.")
    raise RequestError(f"There is no run {text}.", hint=_near(client, experiments, text))


def _named(client: Any, experiments: Mapping[str, str], name: str) -> list[RunInfo]:
    """Returns the runs with a name. MLflow's filter has two kinds of quotes and no escape."""
    if not {"'", '"'} <= set(name):
        quote = '"' if "'" in name else "'"
        return search(client, experiments, f"attributes.run_name = {quote}{name}{quote}", limit=10) if name else []
    return [run for run in search(client, experiments, limit=_NEAR_NAMES_FROM) if run.name == name]


def _near(client: Any, experiments: Mapping[str, str], text: str) -> str:
    recent = search(client, experiments, limit=_NEAR_NAMES_FROM)
    if not recent:
        return "Nothing is tracked here yet: start with regplug run."
    hint = did_you_mean(text, [run.name for run in recent])
    if hint.startswith("Known:"):
        return f"`regplug runs list` shows them; the last was {recent[0].name} ({recent[0].run_id[:8]})."
    return hint


def when(milliseconds: int) -> datetime:
    """Returns MLflow's milliseconds as a time."""
    return datetime.fromtimestamp(milliseconds / 1000, tz=UTC)
