"""Sends a run's records to the store: in batches, in a background thread, with retries if the store is lost."""

from __future__ import annotations

import shutil
import tempfile
import threading
import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from regplug.errors import TrackingError
from regplug.tracking import limits
from regplug.tracking.liveness import HEARTBEAT_EVERY_S, heartbeat_tags
from regplug.tracking.patience import AT_THE_ENDS, FOR_FILES, WHILE_TRAINING, Patience, bounded
from regplug.tracking.trouble import is_refusal, tracking_trouble

FLUSH_EVERY_S = 2.0
"""Longest time that metrics wait."""

_LOOK_EVERY_S = 0.5
_FIRST_PAUSE_S = 1.0
_LONGEST_PAUSE_S = 30.0


@dataclass(frozen=True)
class Records:
    """Waiting metrics, parameters and tags."""

    metrics: Sequence[Any] = ()
    params: Sequence[Any] = ()
    tags: Mapping[str, str] = field(default_factory=dict)

    def __bool__(self) -> bool:
        return bool(self.metrics or self.params or self.tags)

    def __add__(self, later: Records) -> Records:
        return Records([*self.metrics, *later.metrics], [*self.params, *later.params], {**self.tags, **later.tags})


@dataclass(frozen=True)
class Call:
    """Another kind of write: a file, a dataset, the runs of a study.

    Args:
        what: Its name in messages.
        doing: The message if it fails.
        send: Sends it.
        patience: Timeout and retries.
    """

    what: str
    doing: str
    send: Callable[[], object]
    patience: Patience = FOR_FILES

    def carry_out(self) -> None:
        """Sends it.

        Raises:
            TrackingError: The store cannot be written.
        """
        with tracking_trouble(self.doing), bounded(self.patience):
            self.send()


class Delivery:
    """Sends the records of one run.

    Before `start`, everything is sent immediately and errors are raised. Afterwards a thread sends the records. If the
    store is lost, this is reported once, and unsent records wait in memory and are sent again. If the store refuses a
    record, the next call raises the error.

    Args:
        client: MLflow's client.
        run_id: The run.
        store: The store's name in messages.
    """

    def __init__(self, client: Any, run_id: str, store: str) -> None:
        self.tell: Callable[[str], None] = lambda _: None
        self.trouble: TrackingError | None = None
        self._client, self._run_id, self._store = client, run_id, store
        self._records, self._calls = Records(), list[Call]()
        self._refused: Exception | None = None
        self._held: tempfile.TemporaryDirectory[str] | None = None
        self._thread: threading.Thread | None = None
        self._is_over = False
        # The first lock guards the waiting records and is held briefly; the second is held while records are sent.
        self._wake, self._sending = threading.Condition(), threading.RLock()
        self._sent_at = self._beat_at = time.monotonic()
        self._pause_s, self._again_at = _FIRST_PAUSE_S, 0.0

    def start(self) -> None:
        """Starts the thread."""
        self._thread = threading.Thread(target=self._work, name="regplug-tracking", daemon=True)
        self._thread.start()

    def stop(self) -> list[str]:
        """Ends the thread and tries to send the rest; returns a description of what is missing from the store.

        Raises:
            TrackingError: The store refused a record.
        """
        if self._thread is None:
            self._send_records(AT_THE_ENDS)
            return []
        with self._wake:
            self._is_over = True
            self._wake.notify()
        self._thread.join()
        if self.trouble is not None:
            self.tell(f"Trying the tracking store {self._store} once more.")
        self._send(AT_THE_ENDS)
        self._thread = None
        if self._held is not None:
            self._held.cleanup()
        self._raise_refused()
        return self._waiting()

    def put(
        self, metrics: Sequence[Any] = (), params: Sequence[Any] = (), tags: Mapping[str, str] | None = None
    ) -> None:
        """Adds metrics, parameters and tags."""
        self._raise_refused()
        with self._wake:
            self._records += Records(metrics, params, tags or {})
            is_due = self._is_due()
            if is_due:
                self._wake.notify()
        if self._thread is None and (is_due or params or tags):
            self.flush()

    def post(self, call: Call) -> None:
        """Adds a write for the thread; without a thread, sends it now."""
        if self._thread is None:
            call.carry_out()
            return
        self._raise_refused()
        with self._wake:
            self._calls.append(call)
            self._wake.notify()

    def call(self, call: Call) -> bool:
        """Sends a write now; returns whether it is in the store, or else waits."""
        self._raise_refused()
        with self._sending:
            if self._thread is None or self.trouble is None:
                try:
                    call.carry_out()
                    return True
                except TrackingError as error:
                    if self._thread is None or is_refusal(error):
                        raise
                    self._lose(error)
            with self._wake:
                self._calls.append(call)
        return False

    def flush(self) -> None:
        """Sends the waiting records now; if the store is lost, they keep waiting."""
        self._raise_refused()
        if self._thread is None:
            self._send_records(AT_THE_ENDS)
        elif self.trouble is None:
            self._send(AT_THE_ENDS)
            self._raise_refused()

    def hold(self, path: Path) -> Path:
        """Copies a file and returns the copy, which is kept until the end of the run."""
        if self._held is None:
            self._held = tempfile.TemporaryDirectory(prefix="regplug-", ignore_cleanup_errors=True)
        return Path(shutil.copy(path, tempfile.mkdtemp(dir=self._held.name)))

    # The thread.

    def _work(self) -> None:
        while True:
            with self._wake:
                self._wake.wait_for(lambda: self._is_over or self._is_due(), timeout=_LOOK_EVERY_S)
                if self._is_over:
                    return
                is_due = self._is_due()
            if is_due:
                self._send(WHILE_TRAINING)

    def _is_due(self) -> bool:
        now = time.monotonic()
        if self.trouble is not None:
            return now >= self._again_at
        is_time = bool(self._records) and now - self._sent_at >= FLUSH_EVERY_S
        is_full = len(self._records.metrics) >= limits.MAX_ENTITIES
        return bool(self._calls) or is_full or is_time or now - self._beat_at >= HEARTBEAT_EVERY_S

    def _send(self, patience: Patience) -> None:
        """Sends the waiting records. Stores errors instead of raising them, because it runs in the thread."""
        with self._sending:
            try:
                self._send_records(patience)
                self._send_calls()
            except TrackingError as error:
                if is_refusal(error):
                    self._refused = error
                else:
                    self._lose(error)
            except Exception as error:  # a bug: the run's own thread raises it
                self._refused = error
            else:
                self._find()

    def _send_records(self, patience: Patience) -> None:
        self._sent_at = now = time.monotonic()
        is_beat = now - self._beat_at >= HEARTBEAT_EVERY_S or self.trouble is not None
        with self._wake:
            records, self._records = self._records, Records()
        try:
            with tracking_trouble("Metrics could not be logged"), bounded(patience):
                self._log(records + Records(tags=heartbeat_tags()) if is_beat else records)
        except TrackingError as error:
            if not is_refusal(error):
                with self._wake:
                    self._records = records + self._records
            raise
        if is_beat:
            self._beat_at = now

    def _log(self, records: Records) -> None:
        from mlflow.entities import RunTag

        if records:
            tags = [RunTag(*pair) for pair in limits.shorten_all(records.tags).items()]
            limits.log_in_batches(self._client, self._run_id, metrics=records.metrics, params=records.params, tags=tags)

    def _send_calls(self) -> None:
        trouble: TrackingError | None = None
        for call in list(self._calls):
            try:
                call.carry_out()
            except TrackingError as error:
                if is_refusal(error):
                    self._calls.remove(call)
                    raise
                trouble = error
                if not isinstance(error.__cause__, OSError):
                    break  # a smaller file may still fit on a full disk, but nothing reaches a lost server
            else:
                self._calls.remove(call)
        if trouble is not None:
            raise trouble

    def _lose(self, error: TrackingError) -> None:
        is_news = self.trouble is None
        self.trouble = error
        self._again_at = time.monotonic() + self._pause_s
        self._pause_s = min(2 * self._pause_s, _LONGEST_PAUSE_S)
        if is_news:
            self.tell(
                f"The tracking store {self._store} cannot be written. {error.message}. The run continues; its records "
                f"wait in memory until the store can be written. {error.hint}"
            )

    def _find(self) -> None:
        was_lost, self.trouble, self._pause_s = self.trouble is not None, None, _FIRST_PAUSE_S
        if was_lost:
            self.tell(f"The tracking store {self._store} can be written again.")

    def _raise_refused(self) -> None:
        refused, self._refused = self._refused, None
        if refused is not None:
            raise refused

    def _waiting(self) -> list[str]:
        parts = {"metric values": self._records.metrics, "parameters": self._records.params, "tags": self._records.tags}
        calls = dict.fromkeys(call.what for call in self._calls)
        return [*(f"{len(some)} {name}" for name, some in parts.items() if some), *calls]
