"""Writes one run: metrics in batches, parameters, tags, files, datasets and models."""

from __future__ import annotations

import json
import tempfile
import time
from collections.abc import Callable, Mapping, Sequence
from functools import partial
from pathlib import Path
from types import TracebackType
from typing import TYPE_CHECKING, Any, cast

from regplug.errors import RegplugError, TrackingError
from regplug.tracking import entries, limits
from regplug.tracking.children import ChildRun
from regplug.tracking.columns import Columns
from regplug.tracking.datasets import dataset_input, log_inputs
from regplug.tracking.delivery import Delivery
from regplug.tracking.experiments import set_tags
from regplug.tracking.files import all_or_nothing
from regplug.tracking.liveness import writing
from regplug.tracking.naming import param_text, safe_key
from regplug.tracking.outbox import Outbox
from regplug.tracking.patience import AT_THE_ENDS
from regplug.tracking.records import Call
from regplug.tracking.reserve import Reserve
from regplug.tracking.run_end import lost_records, write_end
from regplug.tracking.system import source_tags
from regplug.tracking.trouble import tracking_trouble

if TYPE_CHECKING:
    import numpy as np

    from regplug.tracking.system_metrics import SystemMetrics

LONG_VALUES_FILE = "config/long_values.json"


class TrackedRun:
    """A run that this process writes; a context manager that ends it. Created by `Store.start_run` and `resume_run`.

    It ends as FINISHED, as KILLED on Ctrl-C, or as FAILED on any other exception, which is stored as the tag
    `regplug.error` and raised again. Logged records are kept.

    Inside the `with` block, losing the store does not stop the run: the function set by `on_trouble` is called, and
    records wait in memory and on disk and are sent again. Records that are missing from the store at the end make the
    run FAILED and raise an error; `sync` delivers them later.

    Args:
        client: MLflow's client.
        run: MLflow's run.
        experiment: Name of its experiment.
        store: The store's name in messages.
        reserve: Reserved disk space for storing the end of the run.
        outbox: Keeps on disk what a lost store has not received; `None` if it would be on the same disk.
        reach: Raises an error if the store cannot be reached; `None` for a file.
    """

    def __init__(
        self,
        client: Any,
        run: Any,
        *,
        experiment: str,
        store: str,
        reserve: Reserve,
        outbox: Outbox | None = None,
        reach: Callable[[], object] | None = None,
    ) -> None:
        self.run_id: str = run.info.run_id
        self.name: str = run.info.run_name
        self.experiment = experiment
        self.experiment_id = str(run.info.experiment_id)
        self.artifact_uri: str = run.info.artifact_uri
        self.status = "RUNNING"
        """Its status in the store, as far as this process has written it."""
        self.ends_as = "FINISHED"
        """Its status after the `with` block, if that ends without an exception."""
        self.missing: tuple[str, ...] = ()
        """Descriptions of the records that are missing from the store; known at the end."""
        self._client, self._store, self._reserve = client, store, reserve
        self._delivery = Delivery(client, self.run_id, store, outbox=outbox, reach=reach)
        self._long_values: dict[str, str] = {}
        self._at_start: list[Call] = []
        self._measures_system, self._system = False, cast("SystemMetrics | None", None)

    def on_trouble(self, tell: Callable[[str], None]) -> None:
        """Sets a function that is called, from another thread, when the store is lost and when it is back."""
        self._delivery.tell = tell

    @property
    def is_lost(self) -> bool:
        """Whether the store currently cannot be written."""
        return self._delivery.trouble is not None

    def log_metrics(self, values: Mapping[str, float], step: int) -> None:
        """Logs numbers at a step; they are written in batches, about every two seconds.

        NaN stays NaN; infinities become the largest float, as in MLflow's database.

        Raises:
            TrackingError: The store refuses them.
        """
        self._delivery.put(metrics=_points(values, step))

    def measure_system(self) -> None:
        """Logs the load of the machine as `system/...` during the `with` block, at intervals and at its end."""
        self._measures_system = True

    def _tell(self, message: str) -> None:
        self._delivery.tell(message)

    def _log_system(self, values: Mapping[str, float], step: int) -> None:
        self._delivery.put_quietly(_points(values, step))

    def flush(self) -> None:
        """Writes all waiting records now."""
        self._delivery.flush()

    def post_children(self, send: Callable[[], object], waiting: Callable[[], Sequence[ChildRun]]) -> None:
        """Writes runs of a study in the background.

        Args:
            send: Writes them. Called again after the store was lost; then continues where it stopped.
            waiting: Returns those that are not written yet; they are kept on disk if the store is lost.
        """
        doing = "The study's runs could not be logged"

        def keep(_: Path) -> dict[str, Any]:
            return entries.keep_children(waiting(), source_tags()["mlflow.user"])

        self._delivery.post(Call("runs of the study", doing, send, keep, AT_THE_ENDS))

    def post_columns(self, columns: Columns, send: Callable[[], object]) -> None:
        """Logs new columns in earlier runs of the experiment, in the background, from the start of the block on.

        Args:
            columns: The new columns.
            send: Logs them.
        """
        doing = "Parameters of earlier runs could not be logged"
        keep = partial(entries.keep_columns, columns)
        self._at_start.append(Call("parameters of earlier runs", doing, send, lambda _: keep(), AT_THE_ENDS))

    def log_view(self, view: Mapping[str, str]) -> None:
        """Stores a view of the experiment's runs, as `regplug.tracking.views` makes it."""
        send = partial(set_tags, self._client, self.experiment_id, view)
        doing = "The view of the runs could not be stored"
        self._delivery.post(Call("view of the runs", doing, send, lambda _: entries.keep_view(view), AT_THE_ENDS))

    def log_params(self, params: Mapping[str, object]) -> None:
        """Logs parameters; one too long for MLflow is shortened and stored in full in `config/long_values.json`."""
        from mlflow.entities import Param

        texts = {safe_key(key): param_text(value) for key, value in params.items()}
        short = {key: limits.shorten(text, limits.MAX_PARAM_LENGTH) for key, text in texts.items()}
        self._delivery.put(params=[Param(*pair) for pair in short.items()])
        self.keep_long(limits.too_long(texts, limits.MAX_PARAM_LENGTH))

    def set_tags(self, tags: Mapping[str, str]) -> None:
        """Sets tags; one that is too long is treated like a parameter."""
        texts = {safe_key(key): text for key, text in tags.items()}
        self._delivery.put(tags=texts)
        self.keep_long(limits.too_long(texts, limits.MAX_TAG_LENGTH))

    def log_text(self, text: str, path: str) -> None:
        """Stores text as the run's file `path`."""
        send = partial(self._client.log_text, self.run_id, text, path)
        self._send_file(path, send, lambda place: entries.keep_text(place, text, path))

    def log_dict(self, obj: object, path: str) -> None:
        """Stores plain values as JSON in the run's file `path`."""
        self.log_text(json.dumps(obj, indent=2, default=str, ensure_ascii=False) + "\n", path)

    def log_file(self, path: Path, folder: str = "") -> None:
        """Stores a copy of a file in the run's `folder`."""
        place = [path]
        target = f"{folder}/{path.name}".lstrip("/")

        def send() -> None:
            self._client.log_artifact(self.run_id, str(place[0]), folder or None)

        if not self._send_file(target, send, lambda kept: entries.keep_file(kept, place[0], folder)):
            with tracking_trouble(f"{target} could not be copied for a later attempt"):
                place[0] = self._delivery.hold(path)

    def log_folder(self, path: Path, folder: str = "") -> None:
        """Stores a copy of a folder's content in the run's `folder`; if the store is lost, at the end of the run."""
        send = partial(self._client.log_artifacts, self.run_id, str(path), folder or None)
        self._send_file(folder, send, lambda place: entries.keep_folder(place, path, folder))

    def log_figure_png(self, data: bytes, path: str) -> None:
        """Stores a rendered figure as the run's file `path`."""
        self.log_bytes(data, path)

    def log_bytes(self, data: bytes, path: str) -> None:
        """Stores data as the run's file `path`."""
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
        """Logs a dataset of the run as MLflow's dataset input.

        Args:
            name: The dataset's name.
            digest: Digest of its content; MLflow stores 36 characters.
            source: Its address, its path or the code that generates it.
            schema: In MLflow's form (`mlflow_colspec` or `mlflow_tensorspec`) or plain; shown in the UI.
            profile: Counts and similar facts; shown in the UI.
            context: Its purpose: train, validation or test.
        """
        facts: dict[str, Any] = {"name": name, "digest": digest, "source": source}
        facts |= {"schema": schema, "profile": profile, "context": context}
        given = dataset_input(**facts)

        def send() -> None:
            log_inputs(self._client, self.run_id, [given])

        doing = f"Dataset {name} could not be logged"
        self._delivery.call(Call(f"dataset {name}", doing, send, lambda _: entries.keep_dataset(facts), AT_THE_ENDS))

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
        """Logs an ONNX file as MLflow model after loading and comparing it. See `models.log_onnx_model`."""
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

    def keep_onnx_model(
        self,
        path: Path,
        *,
        sample_input: np.ndarray[Any, Any],
        sample_output: np.ndarray[Any, Any],
        requirements: Sequence[str],
    ) -> None:
        """Logs an ONNX file as MLflow model like `log_onnx_model`; if the store is lost, later."""
        what = "the ONNX file as a model"

        def send() -> None:
            self.log_onnx_model(path, sample_input=sample_input, sample_output=sample_output, requirements=requirements)

        def keep(place: Path) -> dict[str, Any]:
            facts = {"name": "model", "requirements": list(requirements)}
            return entries.keep_model(place, path, sample_input, sample_output, facts)

        self._delivery.call(Call(what, f"{what} could not be kept", send, keep))

    def end(self, status: str, why: str = "") -> None:
        """Writes all waiting records and ends the run.

        Args:
            status: FINISHED, FAILED or KILLED.
            why: The error, for the tag `regplug.error`.

        Raises:
            TrackingError: The store refused a record.
            TrackingLostError: Records are missing from the store, or the end could not be written. A run that would be
                FINISHED is then FAILED.
        """
        wanted, reason = status, why
        try:
            missing = self.missing = tuple(self._delivery.stop())
            trouble = self._delivery.trouble
            if missing:
                status, why = ("FAILED" if status == "FINISHED" else status), why or str(trouble)
            unended = self._note_end(status, why)
        except BaseException as error:
            self._note_end("FAILED" if status == "FINISHED" else status, why or str(error))
            raise
        finally:
            writing.discard(self.run_id)
        if missing or unended:
            place = self._delivery.leave(wanted, reason)
            raise lost_records(self._store, self.name, self.status, missing, trouble or unended, place)

    def __enter__(self) -> TrackedRun:
        self._delivery.start()
        for call in self._at_start:
            self._delivery.post(call)
        if self._measures_system:
            from regplug.tracking.system_metrics import start_measuring

            self._system = start_measuring(self.run_id, self._client.tracking_uri, self._log_system, self._tell)
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, traceback: TracebackType | None
    ) -> None:
        if self._system is not None:
            self._system.finish()
        if error is None:
            self.end(self.ends_as)
            return
        try:
            is_killed = isinstance(error, KeyboardInterrupt)
            self.end("KILLED" if is_killed else "FAILED", "" if is_killed else f"{type(error).__name__}: {error}")
        except RegplugError as trouble:
            # The run's own error is raised; the failure to write its end is added as a note, unless it is the same
            # error.
            if str(trouble) != str(error):
                error.add_note(str(trouble))

    def _note_end(self, status: str, why: str) -> TrackingError | None:
        """Ends the run in the store, on a full disk with the reserved space. Returns the error, if any."""
        try:
            self._delivery.send_last(
                "The run could not be ended", lambda: write_end(self._client, self.run_id, status, why)
            )
        except TrackingError as error:
            return self._note_end(status, why) if self._reserve.give_back() else error
        self._reserve.give_back()
        self.status = status
        return None

    def _send_file(self, target: str, send: Callable[[], object], keep: Callable[[Path], dict[str, Any]]) -> bool:
        whole = all_or_nothing(self.artifact_uri, target, send)
        return self._delivery.call(Call(target, f"{target} could not be kept", whole, keep))

    def keep_long(self, values: Mapping[str, str]) -> None:
        """Stores the full values of parameters and tags that were shortened for MLflow."""
        if values:
            self._long_values |= values
            self.log_dict(self._long_values, LONG_VALUES_FILE)


def _points(values: Mapping[str, float], step: int) -> list[Any]:
    from mlflow.entities import Metric

    now_ms = int(time.time() * 1000)
    return [Metric(safe_key(key), float(value), now_ms, step) for key, value in values.items()]
