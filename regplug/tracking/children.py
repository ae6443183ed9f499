"""Writes many finished runs of a study at once, through MLflow's public client."""

from __future__ import annotations

import time
from collections.abc import Iterator, Mapping, MutableMapping, Sequence
from dataclasses import dataclass, field
from typing import Any, Literal

from regplug.tracking import limits
from regplug.tracking.datasets import UsedDataset, log_inputs
from regplug.tracking.liveness import heartbeat_tags
from regplug.tracking.naming import param_text, safe_key

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
        tags: Tags.
        metrics: Points (metric, value, step, milliseconds since the epoch); equal ones count once.
        status: Its final status.
        start_ms: Start time; by default its first point's time, or now.
        end_ms: End time; by default its last point's time, or now.
        dataset: What it was trained on.
    """

    name: str
    params: Mapping[str, object] = field(default_factory=dict)
    tags: Mapping[str, str] = field(default_factory=dict)
    metrics: Sequence[Point] = ()
    status: Literal["FINISHED", "FAILED", "KILLED"] = "FINISHED"
    start_ms: int | None = None
    end_ms: int | None = None
    dataset: UsedDataset | None = None

    def plain_params(self) -> dict[str, str]:
        """Returns the parameters in MLflow's form."""
        texts = {safe_key(key): param_text(value) for key, value in self.params.items()}
        return {key: limits.shorten(text, limits.MAX_PARAM_LENGTH) for key, text in texts.items()}

    def plain_tags(self, parent_id: str, user: str) -> dict[str, str]:
        """Returns the tags in MLflow's form, with those that make it a child of its parent."""
        texts = limits.shorten_all({safe_key(key): text for key, text in self.tags.items()})
        return {**texts, "mlflow.parentRunId": parent_id, "mlflow.runName": self.name, "mlflow.user": user}

    def times_ms(self) -> tuple[int, int]:
        """Returns its start and end time."""
        stamps = [point[3] for point in self.metrics] or [int(time.time() * 1000)]
        start = min(stamps) if self.start_ms is None else self.start_ms
        return start, max(max(stamps), start) if self.end_ms is None else self.end_ms


def write_through_client(
    client: Any, experiment_id: str, parent_id: str, user: str, children: Sequence[ChildRun], begun: Begun
) -> Iterator[list[str]]:
    """Writes children through MLflow's public client, for any store, with three or more calls per child.

    Args:
        client: MLflow's client.
        experiment_id: The experiment of the parent.
        parent_id: The study's run.
        user: The user who runs it.
        children: The runs.
        begun: Runs that an earlier call left unfinished when the store was lost; they are continued.

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
        params = [Param(*pair) for pair in child.plain_params().items()]
        points = [Metric(safe_key(key), value, stamp, step) for key, value, step, stamp in child.metrics]
        limits.log_in_batches(client, run_id, metrics=points, params=params, tags=pairs)
        if child.dataset is not None:
            log_inputs(client, run_id, [child.dataset.as_input()])
        client.set_terminated(run_id, child.status, end)
        del begun[id(child)]
        yield [run_id]
