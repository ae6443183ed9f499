"""What is read of an open tracking store: runs, their metrics, files and datasets."""

from __future__ import annotations

import tempfile
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from regplug.errors import RequestError, did_you_mean
from regplug.tracking import reading, tables
from regplug.tracking.location import Location
from regplug.tracking.ranking import ranked_ids
from regplug.tracking.reading import MetricPoint, RunInfo
from regplug.tracking.selecting import Selection
from regplug.tracking.trouble import tracking_trouble


class ReadStore:
    """An open store, as far as it is read.

    Args:
        location: Its location.
        client: MLflow's client on it.
        sql_store: MLflow's SQL store on it, or `None` for a server.
    """

    def __init__(self, location: Location, client: Any, sql_store: Any) -> None:
        self.location = location
        self._client = client
        self._sql_store = sql_store

    def find_run(self, text: str) -> RunInfo:
        """Returns the run with an id, the beginning of an id or a name.

        Raises:
            RequestError: None or several match; the message lists the matches or similar names.
        """
        with tracking_trouble("Runs could not be read"):
            return reading.find(self._client, text)

    def runs(
        self,
        experiment: str | None = None,
        limit: int | None = 100,
        parent: str | None = None,
        tags: Mapping[str, str] | None = None,
    ) -> list[RunInfo]:
        """Returns runs, the newest first.

        Args:
            experiment: Only runs of this experiment.
            limit: Maximum number of runs; `None` for all.
            parent: Only children of the run with this id.
            tags: Only runs with these tags; values must not contain quotes.

        Raises:
            RequestError: There is no such experiment.
        """
        with tracking_trouble("Runs could not be read"):
            experiments = self._experiments_named(experiment)
            asked = {**(tags or {}), **({"mlflow.parentRunId": parent} if parent else {})}
            wanted = " AND ".join(f"tags.`{key}` = '{value}'" for key, value in asked.items())
            return reading.search(self._client, experiments, wanted, limit)

    def select(self, selection: Selection, experiment: str | None = None, limit: int | None = None) -> list[RunInfo]:
        """Returns the selected runs in the order of the selection.

        Args:
            selection: Which runs.
            experiment: Only runs of this experiment.
            limit: Maximum number of runs; `None` for all.

        Raises:
            RequestError: There is no such experiment, or MLflow cannot read the filter.
        """
        with tracking_trouble("Runs could not be read"):
            wanted, order = self._experiments_named(experiment), selection.order
            if limit is not None and (ranked := self._ranked_ids(selection, wanted)):
                return reading.first_of(self._client, wanted, selection, ranked, limit)
            found = reading.select(self._client, wanted, selection, limit if order else None)
        return found if order else selection.in_order(found)[:limit]

    def _ranked_ids(self, selection: Selection, experiments: Mapping[str, str]) -> list[str]:
        """Returns the ids of all runs in the order of a selection; none where MLflow is to sort."""
        if self._sql_store is None or selection.is_by_attribute or not tables.are_known():
            return []
        return ranked_ids(self._sql_store, experiments, selection)

    def status_of(self, run_id: str) -> str | None:
        """Returns the status of a run, `DELETED` if it is deleted, or `None` if the store does not know it."""
        with tracking_trouble("The run could not be read"):
            return reading.status_of(self._client, run_id)

    def experiments(self) -> dict[str, str]:
        """Returns the names of the experiments by id."""
        with tracking_trouble("Experiments could not be read"):
            return reading.list_experiments(self._client)

    def metric_history(self, run_id: str, key: str) -> list[MetricPoint]:
        """Returns all values of a metric by step; none for a metric that was not logged."""
        with tracking_trouble("Metrics could not be read"):
            points = self._client.get_metric_history(run_id, key)
        ordered = sorted(points, key=lambda point: (point.step, point.timestamp))
        return [MetricPoint(step=each.step, value=each.value, timestamp_ms=each.timestamp) for each in ordered]

    def read_artifact(self, run_id: str, path: str) -> Path:
        """Returns the local path of a run's file or folder, which is downloaded if it is not local.

        Raises:
            RequestError: The run has no such file.
        """
        with tracking_trouble(f"{path} could not be read"):
            known = self.artifact_names(run_id, path.rpartition("/")[0])
            if path not in known:
                raise RequestError(f"Run {run_id[:8]} has no file {path}.", hint=did_you_mean(path, known))
            place = None if self._sql_store is not None else tempfile.mkdtemp(prefix="regplug-")
            return Path(self._client.download_artifacts(run_id, path, place))

    def artifact_names(self, run_id: str, folder: str = "") -> list[str]:
        """Returns the paths of the files and folders in a run's `folder`."""
        with tracking_trouble("Files could not be listed"):
            return [str(file.path) for file in self._client.list_artifacts(run_id, folder or None)]

    def dataset_digests(self, run_id: str) -> dict[str, str]:
        """Returns the digests of a run's datasets by name, 36 characters of each."""
        with tracking_trouble("The run's data could not be read"):
            inputs = self._client.get_run(run_id).inputs.dataset_inputs
        return {each.dataset.name: each.dataset.digest for each in inputs}

    def _experiments_named(self, wanted: str | None) -> dict[str, str]:
        """Returns the names of the experiments by id: all, or the one with a name."""
        experiments = reading.list_experiments(self._client)
        if wanted is None:
            return experiments
        if wanted not in experiments.values():
            raise RequestError(f"There is no experiment {wanted}.", hint=did_you_mean(wanted, experiments.values()))
        return {key: name for key, name in experiments.items() if name == wanted}
