"""Logs the datasets of a run as MLflow's dataset inputs."""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from regplug.tracking.trouble import is_lost_race

CONTEXT_TAG, TRAINING_CONTEXT = "mlflow.data.context", "train"
"""Tag of a dataset input that says what it is for, and its value for what a run trains on."""

_DIGEST_LENGTH = 36
_MOST_RACES = 5


@dataclass(frozen=True, kw_only=True)
class UsedDataset:
    """The dataset of a child run.

    Args:
        name: Its name.
        digest: Digest of its content; MLflow stores 36 characters.
        source: Its address, its path or the code that generates it.
        profile: Counts and similar facts.
    """

    name: str
    digest: str
    source: str
    profile: Mapping[str, object]

    @property
    def key(self) -> tuple[str, str]:
        """What identifies it in an experiment: name and digest, as MLflow stores them."""
        return self.name, self.digest[:_DIGEST_LENGTH]

    def as_input(self) -> Any:
        """Returns MLflow's entity."""
        return dataset_input(
            self.name, self.digest, self.source, schema=None, profile=self.profile, context=TRAINING_CONTEXT
        )


def dataset_input(
    name: str,
    digest: str,
    source: str,
    *,
    schema: Mapping[str, object] | None,
    profile: Mapping[str, object] | None,
    context: str,
) -> Any:
    """Returns MLflow's entity; see `TrackedRun.log_dataset`."""
    from mlflow.entities import Dataset, DatasetInput, InputTag

    kind, place = _source_of(source)
    dataset = Dataset(
        name=name,
        digest=digest[:_DIGEST_LENGTH],
        source_type=kind,
        source=json.dumps(place),
        schema=None if schema is None else json.dumps(schema, default=str),
        profile=None if profile is None else json.dumps(profile, default=str),
    )
    return DatasetInput(dataset=dataset, tags=[InputTag(key=CONTEXT_TAG, value=context)])


def log_inputs(client: Any, run_id: str, inputs: Sequence[Any]) -> None:
    """Logs datasets as inputs of a run.

    MLflow checks whether a dataset is in the store and inserts it if not. Another process may insert it in between;
    a retry then finds it.

    Args:
        client: MLflow's client.
        run_id: The run.
        inputs: From `dataset_input`.
    """
    from mlflow.exceptions import MlflowException

    for left in reversed(range(_MOST_RACES)):
        try:
            client.log_inputs(run_id, inputs)
        except MlflowException as error:
            if not left or not is_lost_race(error):
                raise
        else:
            return


def _source_of(source: str) -> tuple[str, dict[str, object]]:
    """Returns MLflow's source type, and the source in the form that it stores."""
    if source.startswith(("http://", "https://")):
        return "http", {"url": source}
    if Path(source).exists():
        return "local", {"uri": Path(source).absolute().as_uri()}
    return "code", {"tags": {"mlflow.source.name": source, "mlflow.source.type": "LOCAL"}}
