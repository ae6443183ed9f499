"""Writes many finished runs of a study at once, through MLflow's public client."""

from __future__ import annotations

import time
from collections.abc import Iterator, Mapping, MutableMapping, Sequence
from dataclasses import dataclass, field
from typing import Any, Literal

from regplug.tracking import limits
from regplug.tracking.columns import ColumnBook, Columns, defaults_tag, logged, texts_of
from regplug.tracking.datasets import UsedDataset, log_inputs
from regplug.tracking.liveness import heartbeat_tags
from regplug.tracking.naming import safe_key

Point = tuple[str, float, int, int]
"""Metric, value, step, milliseconds since the epoch."""

Begun = MutableMapping[int, str]
"""Runs that were started for child runs and have not ended, by the child's `id`."""


@dataclass(frozen=True, kw_only=True)
class ChildRun:
    """A finished run, written all at once.

    Args:
        name: The run's name.
        params: Parameters, as for `TrackedRun.log_params`.
        shown: The parameters that make columns of the experiment; `None` to log all without making columns.
        off: Value of a parameter at which it has no effect, for the runs of the experiment to which it does not apply.
        tags: Tags.
        metrics: Points (metric, value, step, milliseconds since the epoch); equal ones count once.
        status: Its final status.
        start_ms: Start time; by default its first point's time, or now.
        end_ms: End time; by default its last point's time, or now.
        dataset: What it was trained on.
        files: Its files, path -> text. MLflow's compare page fails on a run without files beside one with files.
    """

    name: str
    params: Mapping[str, object] = field(default_factory=dict)
    tags: Mapping[str, str] = field(default_factory=dict)
    metrics: Sequence[Point] = ()
    status: Literal["FINISHED", "FAILED", "KILLED"] = "FINISHED"
    start_ms: int | None = None
    end_ms: int | None = None
    dataset: UsedDataset | None = None
    shown: frozenset[str] | None = None
    off: Mapping[str, object] = field(default_factory=dict)
    files: Mapping[str, str] = field(default_factory=dict)

    def plain_params(self, columns: Columns) -> dict[str, str]:
        """Returns the parameters to log in MLflow's form.

        Args:
            columns: The columns of the experiment.
        """
        texts = texts_of(self.params)
        if self.shown is not None and self._defaults_tag():
            texts = logged(texts, columns)
        return {key: limits.shorten(text, limits.MAX_PARAM_LENGTH) for key, text in texts.items()}

    def plain_tags(self, parent_id: str, user: str) -> dict[str, str]:
        """Returns the tags in MLflow's form, with those that make it a child of its parent."""
        texts = limits.shorten_all({safe_key(key): text for key, text in self.tags.items()})
        own = {"mlflow.parentRunId": parent_id, "mlflow.runName": self.name, "mlflow.user": user}
        return {**texts, **own, **self._defaults_tag()}

    def _defaults_tag(self) -> dict[str, str]:
        return {} if self.shown is None else defaults_tag(texts_of(self.params), self.shown)

    def times_ms(self) -> tuple[int, int]:
        """Returns its start and end time."""
        stamps = [point[3] for point in self.metrics] or [int(time.time() * 1000)]
        start = min(stamps) if self.start_ms is None else self.start_ms
        return start, max(max(stamps), start) if self.end_ms is None else self.end_ms


def add_columns(book: ColumnBook, children: Sequence[ChildRun]) -> tuple[Columns, Columns]:
    """Adds the columns of children to their experiment; returns all of its columns, and the new ones."""
    shown = {key for child in children for key in child.shown or ()}
    if not shown:
        return {}, {}
    off = {key: value for child in children for key, value in child.off.items()}
    return book.extend(shown, off)


def write_through_client(
    client: Any,
    experiment_id: str,
    parent_id: str,
    user: str,
    children: Sequence[ChildRun],
    begun: Begun,
    columns: Columns,
) -> Iterator[list[str]]:
    """Writes children through MLflow's public client, for any store, with three or more calls per child.

    Args:
        client: MLflow's client.
        experiment_id: The experiment of the parent.
        parent_id: The study's run.
        user: The user who runs it.
        children: The runs.
        begun: Runs that an earlier call left unfinished when the store was lost; they are continued.
        columns: The columns of the experiment.

    Yields:
        The id of each completely written child, in order.
    """
    from mlflow.entities import Metric, Param, RunTag

    for child in children:
        start, end = child.times_ms()
        plain = child.plain_tags(parent_id, user)
        if id(child) not in begun:
            # With the first tags the run can be recognised as dead if this process ends first, with the others as this
            # child if the store is lost now and the rest is delivered later.
            tags = {**heartbeat_tags(), **plain}
            run = client.create_run(experiment_id, start_time=start, tags=tags, run_name=child.name)
            begun[id(child)] = run.info.run_id
        run_id = begun[id(child)]
        pairs = [RunTag(*pair) for pair in plain.items()]
        params = [Param(*pair) for pair in child.plain_params(columns).items()]
        points = [Metric(safe_key(key), value, stamp, step) for key, value, step, stamp in child.metrics]
        limits.log_in_batches(client, run_id, metrics=points, params=params, tags=pairs)
        if child.dataset is not None:
            log_inputs(client, run_id, [child.dataset.as_input()])
        for path, text in child.files.items():
            client.log_text(run_id, text, path)
        client.set_terminated(run_id, child.status, end)
        del begun[id(child)]
        yield [run_id]
