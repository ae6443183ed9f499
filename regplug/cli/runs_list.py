"""Prints the runs that `regplug runs list` selects, as a table or as JSON."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime
from typing import TYPE_CHECKING, Any

from regplug.cli.output import emit, say, say_table
from regplug.cli.summary import format_figure
from regplug.errors import RequestError, did_you_mean

if TYPE_CHECKING:
    from regplug.tracking import RunInfo, Store
    from regplug.tracking.selecting import Selection

_FIXED = ("id", "run", "experiment", "status", "kind", "started", "ended", "seconds")
_DEFAULT = ("id", "run", "experiment", "status", "test/accuracy", "test/loss", "started")
_HEADINGS = {"test/accuracy": "test acc.", "test/loss": "test loss"}


@dataclass(frozen=True, kw_only=True)
class Wanted:
    """The runs to list, as the command's options say it. See `regplug.tracking.selecting.Selection`."""

    statuses: tuple[str, ...]
    model: str
    dataset: str
    reg: str
    since: str
    where: str
    study: str
    kind: str
    sort: str

    def selection(self, study_id: str = "") -> Selection:
        """Returns the selection.

        Args:
            study_id: The id of the study that `study` names.

        Raises:
            RequestError: A value is not allowed.
        """
        from regplug.tracking.selecting import Selection, read_since

        return Selection(
            statuses=self.statuses,
            model=self.model,
            dataset=self.dataset,
            reg=self.reg,
            since=read_since(self.since, datetime.now().astimezone()) if self.since else None,
            text=self.where,
            study=study_id,
            kind=self.kind,
            sort=self.sort,
        )


def list_selected(
    wanted: Wanted, *, experiment: str | None, columns: str, limit: int, tracking_uri: str | None, as_json: bool
) -> None:
    """Prints the wanted runs.

    Args:
        wanted: Which runs.
        experiment: Only runs of this experiment.
        columns: Names separated by commas; empty for the usual ones.
        limit: Maximum number of runs.
        tracking_uri: As for `regplug run`.
        as_json: Whether to print one JSON document.

    Raises:
        RequestError: A value is not allowed.
    """
    from regplug.runs.interrupted import is_resumable
    from regplug.tracking import open_store, resolve_location

    selection, location = wanted.selection(), resolve_location(tracking_uri)
    if location.is_missing:
        found, resumable = [], set()
    else:
        store = open_store(tracking_uri)
        if wanted.study:
            selection = wanted.selection(_study_id(store, wanted.study))
        found = store.select(selection, experiment, limit)
        resumable = {run.run_id for run in found if is_resumable(store, run)}
    if not found and not as_json:
        _tell_nothing(location.shown, is_selected=wanted.selection() != Wanted(**_NOTHING).selection())
        return
    names = _named(columns, found)
    if as_json:
        runs = [document_of(run, is_resumable=run.run_id in resumable) for run in found]
        for document, run in zip(runs, found, strict=True):
            document |= {"columns": {name: _value(run, name) for name in names}} if columns else {}
        emit({"tracking_uri": location.shown, "runs": runs})
        return
    headings = [_heading(name, found) for name in names]
    rows = [[_cell(run, name, is_resumable=run.run_id in resumable) for name in names] for run in found]
    say_table(headings, rows, folds="run" if "run" in names else "")


_NOTHING: dict[str, Any] = {
    **dict.fromkeys(("model", "dataset", "reg", "since", "where", "study", "kind", "sort"), ""),
    "statuses": (),
}


def status_of(run: RunInfo, *, is_resumable: bool = False) -> str:
    """Returns a run's status, and whether its process is gone and it can be resumed."""
    notes = ["stale"] * run.is_stale + ["resumable"] * is_resumable
    return f"{run.status} ({', '.join(notes)})" if notes else run.status


def document_of(run: RunInfo, *, is_resumable: bool) -> dict[str, Any]:
    """Returns a run as JSON."""
    from regplug.tracking.kinds import kind_of, study_of

    return {
        "run_id": run.run_id,
        "name": run.name,
        "experiment": run.experiment,
        "kind": kind_of(run),
        "study_id": study_of(run),
        "status": run.status,
        "is_stale": run.is_stale,
        "is_resumable": is_resumable,
        "started": run.started.isoformat(),
        "ended": run.ended.isoformat() if run.ended else None,
        "metrics": dict(run.metrics),
        "artifact_uri": run.artifact_uri,
    }


def _study_id(store: Store, text: str) -> str:
    from regplug.tracking.kinds import STUDY_TAG

    info = store.find_run(text)
    if STUDY_TAG not in info.tags:
        raise RequestError(f"Run {info.name} ({info.run_id[:8]}) is not a study.", hint="List them with --studies.")
    return info.run_id


def _tell_nothing(store: str, *, is_selected: bool) -> None:
    if is_selected:
        say(f"No run in {store} fits.", "Leave out a filter, or list everything with: regplug runs list")
    else:
        say(f"No run is tracked in {store}.", "Start with: regplug run --reg dropout --model mlp")


def _named(columns: str, runs: Sequence[RunInfo]) -> list[str]:
    """Returns the columns to show.

    Raises:
        RequestError: None of the runs has a column.
    """
    names = [name.strip() for name in columns.split(",") if name.strip()] or list(_DEFAULT)
    for name in names if columns and runs else ():
        if name not in _FIXED and all(_value(run, name) is None for run in runs):
            own = {each for run in runs for values in (run.metrics, run.params, run.tags) for each in values}
            raise RequestError(f"None of these runs has {name!r}.", hint=did_you_mean(name, [*_FIXED, *sorted(own)]))
    return names


def _value(run: RunInfo, column: str) -> str | float | None:
    from regplug.tracking.selecting import value_of

    return value_of(run, column)


def _heading(column: str, runs: Sequence[RunInfo]) -> str:
    is_number = any(isinstance(_value(run, column), float) for run in runs) or column in _HEADINGS
    return f"{'>' * is_number}{_HEADINGS.get(column, column)}"


def _cell(run: RunInfo, column: str, *, is_resumable: bool) -> str:
    if column == "id":
        return run.run_id[:8]
    if column == "status":
        return status_of(run, is_resumable=is_resumable)
    if column == "started":
        return f"{run.started.astimezone():%m-%d %H:%M}"
    if column == "ended":
        return f"{run.ended.astimezone():%m-%d %H:%M}" if run.ended else ""
    value = _value(run, column)
    return format_figure(value) if isinstance(value, float) else str(value or "")
