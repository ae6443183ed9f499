"""Finds and creates the experiments of a store."""

from __future__ import annotations

import os
import re
from collections.abc import Mapping
from typing import Any

from regplug.errors import TrackingError
from regplug.tracking.location import Location
from regplug.tracking.trouble import is_lost_race, tracking_trouble

_NAME, _ID = "MLFLOW_EXPERIMENT_NAME", "MLFLOW_EXPERIMENT_ID"
_LONGEST_FOLDER = 100  # file systems take 255; two experiments may share one, in which each run has its own folder

# Makes the UI open the experiment in its view for trained models instead of its view for chats and traces.
_EXPERIMENT_TAGS = {"mlflow.experimentKind": "custom_model_development"}
_MOST_RACES = 5


def set_tags(client: Any, experiment_id: str, tags: Mapping[str, str]) -> None:
    """Sets tags of an experiment; a tag that another process inserts at the same time is set again.

    Args:
        client: MLflow's client.
        experiment_id: The experiment.
        tags: The tags.
    """
    from mlflow.exceptions import MlflowException

    for key, text in tags.items():
        for left in reversed(range(_MOST_RACES)):
            try:
                client.set_experiment_tag(experiment_id, key, text)
            except MlflowException as error:
                if not left or not is_lost_race(error):
                    raise
            else:
                break


class Experiments:
    """The experiments of a store.

    Args:
        client: MLflow's client on it.
        location: Its location.
    """

    def __init__(self, client: Any, location: Location) -> None:
        self._client, self._location = client, location
        self._ids: dict[str, str] = {}

    def name_of(self, asked: str) -> str:
        """Returns the experiment of new runs: that of MLflow's environment variables, else the requested one.

        Raises:
            TrackingError: There is no experiment with the id in `MLFLOW_EXPERIMENT_ID`, or `MLFLOW_EXPERIMENT_NAME`
                names another one.
        """
        name, experiment_id = os.environ.get(_NAME), os.environ.get(_ID)
        if not experiment_id:
            return name or asked
        named = self._named(experiment_id)
        if name and name != named:
            raise TrackingError(
                f"{_NAME} is {name}, but {_ID} is {experiment_id}, which is {named}.", hint="Unset one of them."
            )
        return named

    def id_of(self, name: str) -> str:
        """Returns the id of an experiment, which is created if it is new.

        Raises:
            TrackingError: A deleted experiment in MLflow still has the name.
        """
        if name not in self._ids:
            self._ids[name] = self._find(name) or self._create(name)
        return self._ids[name]

    def _named(self, experiment_id: str) -> str:
        from mlflow.exceptions import MlflowException

        try:
            return str(self._client.get_experiment(experiment_id).name)
        except MlflowException as error:
            with tracking_trouble(f"The experiment {experiment_id} could not be read"):
                if getattr(error, "error_code", "") not in ("RESOURCE_DOES_NOT_EXIST", "INVALID_PARAMETER_VALUE"):
                    raise
            raise TrackingError(
                f"There is no experiment with the id {experiment_id} of {_ID}.",
                hint=f"Unset it, or set {_NAME} to a name.",
            ) from None

    def _find(self, name: str) -> str | None:
        found = self._client.get_experiment_by_name(name)
        if found is None:
            return None
        if found.lifecycle_stage != "active":
            raise TrackingError(
                f"Experiment {name} was deleted in MLflow.",
                hint=f"Choose another, or: mlflow experiments restore --experiment-id {found.experiment_id}",
            )
        return str(found.experiment_id)

    def _create(self, name: str) -> str:
        from mlflow.exceptions import MlflowException

        place = None
        if self._location.artifacts is not None:
            # Absolute and readable: MLflow's own default is relative to the current folder of the process.
            folder = re.sub(r"[^A-Za-z0-9._-]+", "-", name)[:_LONGEST_FOLDER]
            place = f"{self._location.artifacts.rstrip('/')}/{folder}"
        try:
            return str(self._client.create_experiment(name, artifact_location=place, tags=_EXPERIMENT_TAGS))
        except MlflowException:
            # Another process was faster.
            found = self._find(name)
            if found is None:
                raise
            return found
