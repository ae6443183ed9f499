"""Copies runs from one store to another, such as a folder's own store to the server of a team."""

from __future__ import annotations

import tempfile
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from regplug.tracking import limits, reading
from regplug.tracking.datasets import log_inputs
from regplug.tracking.experiments import Experiments
from regplug.tracking.liveness import HEARTBEAT_TAG, PROCESS_TAG
from regplug.tracking.patience import FOR_FILES, bounded
from regplug.tracking.reading import RunInfo
from regplug.tracking.records import Records
from regplug.tracking.trouble import tracking_trouble

COPY_TAG = "regplug.copy_of"
"""Tag of a copy: id of the run in its first store."""

_UNTOLD = (HEARTBEAT_TAG, PROCESS_TAG, "mlflow.log-model.history")


@dataclass(frozen=True, kw_only=True)
class Copied:
    """What became of one run.

    Args:
        run_id: Its id in the first store.
        new_id: The id of its copy.
        name: Its name.
        experiment: Its experiment.
        is_new: Whether it was copied now; False if it was there already.
    """

    run_id: str
    new_id: str
    name: str
    experiment: str
    is_new: bool


def copy_runs(source: Any, target: Any, experiments: Experiments) -> Iterator[Copied]:
    """Copies all runs that have ended, with parameters, metrics, tags, datasets and files.

    A copy has an id of its own. Tags with the id of a run, such as that of a study, name the copy. Logged and
    registered models stay behind. A run that was copied before is not copied again; an incomplete copy is completed.

    Args:
        source: MLflow's client on the first store.
        target: MLflow's client on the other store.
        experiments: Its experiments.

    Yields:
        What became of each run, the oldest first.

    Raises:
        TrackingError: A store cannot be read or written.
    """
    with tracking_trouble("The runs could not be copied"), bounded(FOR_FILES):
        runs = [run for run in reading.search(source, reading.list_experiments(source)) if run.status != "RUNNING"]
        names = dict.fromkeys(run.experiment for run in reversed(runs))
        ids = {name: experiments.id_of(name) for name in names}
        there = _copies(target, list(ids.values()))
        new_ids = {run.run_id: _begin(target, ids[run.experiment], run, there) for run in reversed(runs)}
        for run in reversed(runs):
            new_id = new_ids[run.run_id]
            is_new = run.run_id not in there or there[run.run_id].status == "RUNNING"
            if is_new:
                _fill(source, target, run, new_ids)
            yield Copied(run_id=run.run_id, new_id=new_id, name=run.name, experiment=run.experiment, is_new=is_new)


def _copies(target: Any, experiment_ids: Sequence[str]) -> dict[str, RunInfo]:
    found = reading.search(target, dict.fromkeys(experiment_ids, ""), f"tags.`{COPY_TAG}` LIKE '%'")
    return {run.tags[COPY_TAG]: run for run in found}


def _begin(target: Any, experiment_id: str, run: RunInfo, there: Mapping[str, RunInfo]) -> str:
    if run.run_id in there:
        return there[run.run_id].run_id
    started_ms = int(run.started.timestamp() * 1000)
    created = target.create_run(experiment_id, start_time=started_ms, tags={COPY_TAG: run.run_id}, run_name=run.name)
    return str(created.info.run_id)


def _fill(source: Any, target: Any, run: RunInfo, new_ids: Mapping[str, str]) -> None:
    from mlflow.entities import Param

    new_id = new_ids[run.run_id]
    points = [point for name in run.metrics for point in source.get_metric_history(run.run_id, name)]
    tags = {name: new_ids.get(text, text) for name, text in run.tags.items() if name not in _UNTOLD}
    limits.log_records(target, new_id, Records(points, [Param(*pair) for pair in run.params.items()], tags))
    inputs = source.get_run(run.run_id).inputs.dataset_inputs
    if inputs:
        log_inputs(target, new_id, inputs)
    with tempfile.TemporaryDirectory(prefix="regplug-") as place:
        for path in [file.path for file in source.list_artifacts(run.run_id)]:
            source.download_artifacts(run.run_id, path, place)
        if any(Path(place).iterdir()):
            target.log_artifacts(new_id, place)
    ended_ms = int(run.ended.timestamp() * 1000) if run.ended else None
    target.set_terminated(new_id, run.status, ended_ms)
