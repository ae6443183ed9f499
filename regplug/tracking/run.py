"""One run being written: metrics in batches, parameters, tags, files, data and models."""

from __future__ import annotations

import json
import tempfile
import time
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from types import TracebackType
from typing import TYPE_CHECKING, Any

from regplug.errors import TrackingError
from regplug.tracking import limits
from regplug.tracking.liveness import HEARTBEAT_EVERY_S, heartbeat_tags
from regplug.tracking.naming import param_text, safe_key
from regplug.tracking.trouble import tracking_trouble

if TYPE_CHECKING:
    import numpy as np

FLUSH_EVERY_S = 2.0
"""Metrics wait at most this long, or until the next are logged."""

ERROR_TAG = "regplug.error"
LONG_VALUES_FILE = "config/long_values.json"


class TrackedRun:
    """A run that this process writes; a context manager which ends it.

    It ends FINISHED, KILLED on Ctrl-C, and FAILED with the message as tag `regplug.error` on any other exception,
    which is raised again. What was logged is kept. Made by `Store.start_run` and `Store.resume_run`.
    """

    def __init__(
        self, client: Any, *, run_id: str, name: str, experiment: str, experiment_id: str, artifact_uri: str
    ) -> None:
        self.run_id = run_id
        self.name = name
        self.experiment = experiment
        self.experiment_id = experiment_id
        self.artifact_uri = artifact_uri
        self._client = client
        self._buffer: list[Any] = []
        self._flushed_at_s = time.monotonic()
        self._beat_at_s = time.monotonic()
        self._long_values: dict[str, str] = {}

    def log_metrics(self, values: Mapping[str, float], step: int) -> None:
        """Logs numbers at a step; they are written in batches, at most about every two seconds.

        A NaN stays NaN; infinities become the largest float, as MLflow's database has it.

        Raises:
            TrackingError: The store cannot be written.
        """
        from mlflow.entities import Metric

        now_ms = int(time.time() * 1000)
        self._buffer += [Metric(safe_key(key), float(value), now_ms, step) for key, value in values.items()]
        if len(self._buffer) >= limits.MAX_ENTITIES or time.monotonic() - self._flushed_at_s >= FLUSH_EVERY_S:
            self.flush()

    def flush(self) -> None:
        """Writes the metrics that wait, and the heartbeat where it is due."""
        self._flushed_at_s = time.monotonic()
        is_due = time.monotonic() - self._beat_at_s >= HEARTBEAT_EVERY_S
        if not self._buffer and not is_due:
            return
        tags = heartbeat_tags() if is_due else {}
        with tracking_trouble("Metrics could not be logged"):
            self._log(metrics=self._buffer, tags=tags)
        self._buffer = []
        if is_due:
            self._beat_at_s = time.monotonic()

    def beat(self) -> None:
        """Shows that the run lives, at most every ten seconds; cheap enough for each step of a long epoch."""
        if time.monotonic() - self._beat_at_s >= HEARTBEAT_EVERY_S:
            self.flush()

    def log_params(self, params: Mapping[str, object]) -> None:
        """Logs parameters; one too long for MLflow is cut visibly and kept whole in `config/long_values.json`."""
        from mlflow.entities import Param

        texts = {safe_key(key): param_text(value) for key, value in params.items()}
        with tracking_trouble("Parameters could not be logged"):
            self._log(params=[Param(key, limits.shorten(text, limits.MAX_PARAM_LENGTH)) for key, text in texts.items()])
            self.keep_long(limits.too_long(texts, limits.MAX_PARAM_LENGTH))

    def set_tags(self, tags: Mapping[str, str]) -> None:
        """Sets tags; one too long is treated as a parameter is."""
        texts = {safe_key(key): text for key, text in tags.items()}
        with tracking_trouble("Tags could not be set"):
            self._log(tags=texts)
            self.keep_long(limits.too_long(texts, limits.MAX_TAG_LENGTH))

    def log_text(self, text: str, path: str) -> None:
        """Keeps a text as the run's file `path`."""
        with tracking_trouble(f"{path} could not be kept"):
            self._client.log_text(self.run_id, text, path)

    def log_dict(self, obj: object, path: str) -> None:
        """Keeps a structure of plain values as JSON in the run's file `path`."""
        self.log_text(json.dumps(obj, indent=2, default=str, ensure_ascii=False) + "\n", path)

    def log_file(self, path: Path, folder: str = "") -> None:
        """Keeps a copy of a file in the run's `folder`."""
        with tracking_trouble(f"{path} could not be kept"):
            self._client.log_artifact(self.run_id, str(path), folder or None)

    def log_folder(self, path: Path, folder: str = "") -> None:
        """Keeps a copy of what a folder holds in the run's `folder`."""
        with tracking_trouble(f"{path} could not be kept"):
            self._client.log_artifacts(self.run_id, str(path), folder or None)

    def log_figure_png(self, data: bytes, path: str) -> None:
        """Keeps a rendered figure as the run's file `path`."""
        with tempfile.TemporaryDirectory() as place:
            file = Path(place) / Path(path).name
            file.write_bytes(data)
            self.log_file(file, str(Path(path).parent.as_posix()).removeprefix("."))

    def log_dataset(
        self,
        name: str,
        digest: str,
        source: str,
        *,
        schema: Mapping[str, object] | None = None,
        profile: Mapping[str, object] | None = None,
        context: str = "train",
    ) -> None:
        """Logs which data the run saw, as MLflow's dataset input.

        Args:
            name: The dataset's name.
            digest: What tells its content; MLflow keeps 36 characters.
            source: Address, path or the code that makes it.
            schema: In MLflow's form (`mlflow_colspec` or `mlflow_tensorspec`) or plain; shown in the UI.
            profile: Counts and the like; shown in the UI.
            context: What it was used for: train, validation or test.
        """
        from mlflow.entities import Dataset, DatasetInput, InputTag

        kind, place = _source_of(source)
        dataset = Dataset(
            name=name,
            digest=digest[:36],
            source_type=kind,
            source=json.dumps(place),
            schema=None if schema is None else json.dumps(schema, default=str),
            profile=None if profile is None else json.dumps(profile, default=str),
        )
        with tracking_trouble(f"Dataset {name} could not be logged"):
            tags = [InputTag(key="mlflow.data.context", value=context)]
            self._client.log_inputs(self.run_id, [DatasetInput(dataset=dataset, tags=tags)])

    def log_onnx_model(
        self,
        path: Path,
        *,
        sample_input: np.ndarray[Any, Any],
        sample_output: np.ndarray[Any, Any],
        requirements: Sequence[str],
        name: str = "model",
        disagreement: Callable[[Any], str] | None = None,
    ) -> str:
        """Logs an ONNX file as MLflow model, loaded back and compared first. See `models.log_onnx_model`."""
        from regplug.tracking.models import log_onnx_model

        return log_onnx_model(
            self._client,
            path,
            run_id=self.run_id,
            experiment_id=self.experiment_id,
            name=name,
            sample_input=sample_input,
            sample_output=sample_output,
            requirements=requirements,
            disagreement=disagreement,
        )

    def end(self, status: str) -> None:
        """Writes what waits and ends the run with `status`: FINISHED, FAILED or KILLED."""
        try:
            self.flush()
        finally:
            with tracking_trouble("The run could not be ended"):
                self._client.set_terminated(self.run_id, status)

    def __enter__(self) -> TrackedRun:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, traceback: TracebackType | None
    ) -> None:
        if error is None:
            self.end("FINISHED")
            return
        try:
            self._end_after(error)
        except TrackingError as trouble:
            # What broke the run is told; that its end could not be written is said beside it, unless it is the same.
            if str(trouble) != str(error):
                error.add_note(str(trouble))

    def _end_after(self, error: BaseException) -> None:
        is_killed = isinstance(error, KeyboardInterrupt)
        try:
            if not is_killed:
                self.set_tags({ERROR_TAG: f"{type(error).__name__}: {error}"})
        finally:
            self.end("KILLED" if is_killed else "FAILED")

    def _log(
        self, *, metrics: Sequence[Any] = (), params: Sequence[Any] = (), tags: Mapping[str, str] | None = None
    ) -> None:
        from mlflow.entities import RunTag

        pairs = [RunTag(*pair) for pair in limits.shorten_all(tags or {}).items()]
        limits.log_in_batches(self._client, self.run_id, metrics=metrics, params=params, tags=pairs)

    def keep_long(self, values: Mapping[str, str]) -> None:
        """Keeps values whole, by parameter or tag, that were cut for MLflow."""
        if values:
            self._long_values |= values
            self.log_dict(self._long_values, LONG_VALUES_FILE)


def _source_of(source: str) -> tuple[str, dict[str, object]]:
    """MLflow's source type and the form in which it keeps such a source."""
    if source.startswith(("http://", "https://")):
        return "http", {"url": source}
    if Path(source).exists():
        return "local", {"uri": Path(source).absolute().as_uri()}
    return "code", {"tags": {"mlflow.source.name": source, "mlflow.source.type": "LOCAL"}}
