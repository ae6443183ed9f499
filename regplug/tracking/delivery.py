"""Sends a run's records to the store: in batches, in a background thread, with retries if the store is lost."""

from __future__ import annotations

import shutil
import tempfile
import threading
import time
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Any

from regplug.errors import TrackingError
from regplug.tracking import limits, reaching
from regplug.tracking.keeping import Keeping
from regplug.tracking.liveness import HEARTBEAT_EVERY_S, heartbeat_tags
from regplug.tracking.outbox import Outbox
from regplug.tracking.patience import AT_THE_ENDS, WHILE_TRAINING, Patience, bounded
from regplug.tracking.records import Call, Records
from regplug.tracking.trouble import is_refusal, tracking_trouble
from regplug.tracking.watch import LOOK_EVERY_S, Watch

FLUSH_EVERY_S = 2.0
"""Longest time that metrics wait."""

_FIRST_PAUSE_S = 1.0
_LONGEST_PAUSE_S = 30.0
_GIVE_UP_AFTER_S = 8.0
"""At the end of a run, a write to a store that does not respond is given up after so long."""


class Delivery:
    """Sends the records of one run.

    Before `start`, everything is sent immediately and errors are raised. Afterwards a thread sends everything. If the
    store is lost, this is reported once, and unsent records wait in memory and on disk and are sent again. If the
    store refuses a record, the next call raises the error.

    A second thread notices a store that no longer responds: see `Watch`.

    Args:
        client: MLflow's client.
        run_id: The run.
        store: The store's name in messages.
        outbox: Keeps on disk what a lost store has not received; `None` if it would be on the same disk.
        reach: Raises an error if the store cannot be reached; `None` for a file.
    """

    def __init__(
        self,
        client: Any,
        run_id: str,
        store: str,
        *,
        outbox: Outbox | None = None,
        reach: Callable[[], object] | None = None,
    ) -> None:
        self.tell: Callable[[str], None] = lambda _: None
        self.trouble: TrackingError | None = None
        self.kept = Keeping(outbox)
        self._client, self._run_id, self._store, self._reach = client, run_id, store, reach
        self._records, self._sent, self._calls = Records(), Records(), list[Call]()
        self._refused: Exception | None = None
        self._held: tempfile.TemporaryDirectory[str] | None = None
        self._thread: threading.Thread | None = None
        self._watch = Watch(reach)
        self._is_over = self._is_flushing = self._is_given_up = self._is_worker_over = False
        # Guards everything that waits, and is held briefly; never while something is sent.
        self._wake = threading.Condition(threading.RLock())
        self._sent_at = self._beat_at = time.monotonic()
        self._pause_s, self._again_at = _FIRST_PAUSE_S, 0.0

    def start(self) -> None:
        """Starts the threads."""
        self._thread = threading.Thread(target=self._work, name="regplug-tracking", daemon=True)
        self._thread.start()
        self._watch.start(self._lose, lambda: self.trouble is not None)

    def stop(self) -> list[str]:
        """Ends the thread, which tries to send the rest; returns a description of what is missing from the store.

        Raises:
            TrackingError: The store refused a record.
        """
        if self._thread is None:
            self._send_records(AT_THE_ENDS)
            return []
        if self.trouble is not None:
            self.tell(f"Trying the tracking store {self._store} once more.")
        with self._wake:
            self._is_over = True
            self._wake.notify_all()
        self._join(self._thread)
        self._watch.stop()
        self._thread = None
        if self._held is not None:
            self._held.cleanup()
        self._raise_refused()
        missing = self._waiting()
        if not missing:
            self.kept.discard()
        return missing

    def leave(self, status: str, why: str) -> Path | None:
        """Keeps how the run ended, and leaves everything to `regplug runs sync`.

        A write that was given up may still succeed when the store responds again; until it has ended, nothing else
        delivers the run, because two deliveries would write its records twice.

        Args:
            status: How the run ended.
            why: The error, or an empty string.

        Returns:
            Where the records are, or `None` if they could not be kept.
        """
        with self._wake:
            place = self.kept.end(status, why)
            if self._is_worker_over or not self._is_given_up:
                self.kept.release()
        return place

    def put(
        self, metrics: Sequence[Any] = (), params: Sequence[Any] = (), tags: Mapping[str, str] | None = None
    ) -> None:
        """Adds metrics, parameters and tags."""
        self._raise_refused()
        records = Records(metrics, params, tags or {})
        with self._wake:
            self._records += records
            if self.trouble is not None:
                self.kept.add_records(records)
            is_due = self._is_due()
            if is_due:
                self._wake.notify_all()
        if self._thread is None and (is_due or params or tags):
            self.flush()

    def put_quietly(self, metrics: Sequence[Any]) -> None:
        """Adds metrics from another thread: errors of the store are left to the run's own thread."""
        records = Records(metrics, (), {})
        with self._wake:
            self._records += records
            if self.trouble is not None:
                self.kept.add_records(records)

    def post(self, call: Call) -> None:
        """Adds a write for the thread; without a thread, sends it now."""
        if self._thread is None:
            call.carry_out()
            return
        self._raise_refused()
        with self._wake:
            self._add(call)

    def call(self, call: Call) -> bool:
        """Sends a write now; returns whether it is in the store, or else waits."""
        if self._thread is None:
            call.carry_out()
            return True
        self._raise_refused()
        with self._wake:
            self._add(call)
            try:
                self._wake.wait_for(lambda: call not in self._calls or self.trouble is not None)
            except BaseException:  # Ctrl-C: the caller removes the file
                if call in self._calls:
                    self._calls.remove(call)
                raise
            is_sent = call not in self._calls
        self._raise_refused()
        return is_sent

    def flush(self) -> None:
        """Sends the waiting records now; if the store is lost, they keep waiting."""
        self._raise_refused()
        if self._thread is None:
            self._send_records(AT_THE_ENDS)
            return
        with self._wake:
            is_waiting = bool(self._records or self._sent or self._calls)
            self._is_flushing = is_waiting and self.trouble is None
            self._wake.notify_all()
            self._wake.wait_for(lambda: not self._is_flushing or self.trouble is not None or self._refused is not None)
        self._raise_refused()

    def hold(self, path: Path) -> Path:
        """Copies a file and returns the copy, which is kept until the end of the run."""
        if self._held is None:
            self._held = tempfile.TemporaryDirectory(prefix="regplug-", ignore_cleanup_errors=True)
        return Path(shutil.copy(path, tempfile.mkdtemp(dir=self._held.name)))

    def send_last(self, doing: str, send: Callable[[], object]) -> None:
        """Sends the end of the run, unless the store does not respond.

        Args:
            doing: The message if it fails.
            send: Sends it.

        Raises:
            TrackingError: It cannot be sent.
        """
        if self._is_given_up and self.trouble is not None:
            raise self.trouble
        # After waiting for the store once, do not wait again.
        patience = AT_THE_ENDS if self.trouble is None else WHILE_TRAINING
        with tracking_trouble(doing), bounded(patience):
            reaching.watched(send, self._reach)

    # The threads.

    def _work(self) -> None:
        try:
            self._send_until_over()
        finally:
            with self._wake:
                self._is_worker_over = True
                if self._is_given_up:
                    self.kept.release()

    def _send_until_over(self) -> None:
        is_over = False
        while not is_over and not self._is_given_up:
            with self._wake:
                self._wake.wait_for(lambda: self._is_over or self._is_due(), timeout=LOOK_EVERY_S)
                is_over, is_flushing, is_due = self._is_over, self._is_flushing, self._is_due()
            if is_over or is_due:
                self._send(AT_THE_ENDS if is_over or is_flushing else WHILE_TRAINING)

    def _join(self, thread: threading.Thread) -> None:
        """Waits for the thread, but not for a write to a store that does not respond."""
        while thread.is_alive():
            thread.join(LOOK_EVERY_S)
            if self.trouble is not None and self._watch.is_stuck(_GIVE_UP_AFTER_S):
                self._is_given_up = True
                return

    def _add(self, call: Call) -> None:
        self._calls.append(call)
        if self.trouble is not None:
            self.kept.add_call(call)
        self._wake.notify_all()

    def _is_due(self) -> bool:
        if self.trouble is not None:
            return time.monotonic() >= self._again_at
        return bool(self._calls) or self._are_records_due()

    def _are_records_due(self) -> bool:
        now = time.monotonic()
        is_time = bool(self._records) and now - self._sent_at >= FLUSH_EVERY_S
        is_full = len(self._records.metrics) >= limits.MAX_ENTITIES
        return self._is_flushing or is_full or is_time or now - self._beat_at >= HEARTBEAT_EVERY_S

    def _send(self, patience: Patience) -> None:
        """Sends what waits. Stores errors instead of raising them, because it runs in the thread."""
        try:
            if self._is_over or self.trouble is not None or self._are_records_due():
                self._send_records(patience)
            self._send_calls()
        except TrackingError as error:
            if is_refusal(error):
                self._refuse(error)
            else:
                self._lose(error)
        except Exception as error:  # a bug, or a model that was saved wrongly: the run's own thread raises it
            self._refuse(error)
        else:
            self._find()
        with self._wake:
            # Records that came while others were sent are sent next.
            self._is_flushing = self._is_flushing and bool(self._records or self._calls) and self._refused is None
            self._wake.notify_all()

    def _send_records(self, patience: Patience) -> None:
        self._sent_at = now = time.monotonic()
        is_beat = now - self._beat_at >= HEARTBEAT_EVERY_S or self.trouble is not None
        with self._wake:
            self._sent, self._records = self._records, Records()
        sent = self._sent
        try:
            with tracking_trouble("Metrics could not be logged"), bounded(patience), self._watch.busy():
                self._log(sent + Records(tags=heartbeat_tags()) if is_beat else sent)
        except TrackingError as error:
            if not is_refusal(error):
                with self._wake:
                    self._records = sent + self._records
            raise
        finally:
            with self._wake:
                self._sent = Records()
                self.kept.replace_records(self._records)
        if is_beat:
            self._beat_at = now

    def _log(self, records: Records) -> None:
        if records:
            limits.log_records(self._client, self._run_id, records)

    def _send_calls(self) -> None:
        trouble: TrackingError | None = None
        for call in list(self._calls):
            try:
                with self._watch.busy():
                    call.carry_out()
            except Exception as error:
                if call not in self._calls:
                    continue  # the caller was interrupted and has removed the file
                if not isinstance(error, TrackingError) or is_refusal(error):
                    self._refuse(error, call)
                    return
                trouble = error
                if not isinstance(error.__cause__, OSError):
                    break  # a smaller file may still fit on a full disk, but nothing reaches a lost server
            else:
                self._take_off(call)
            if self._is_given_up:
                return
        if trouble is not None:
            raise trouble

    def _take_off(self, call: Call) -> None:
        with self._wake:
            if call in self._calls:
                self._calls.remove(call)
            self.kept.drop_call(call)
            self._wake.notify_all()

    def _refuse(self, error: Exception, call: Call | None = None) -> None:
        with self._wake:
            self._refused = error
            if call is not None:
                self._take_off(call)

    def _lose(self, error: TrackingError) -> None:
        with self._wake:
            is_news = self.trouble is None
            if is_news:
                self.kept.add_all(self._sent + self._records, self._calls)
            self.trouble = error
            self._again_at = time.monotonic() + self._pause_s
            self._pause_s = min(2 * self._pause_s, _LONGEST_PAUSE_S)
            self._wake.notify_all()
        if is_news:
            self._say(
                f"The tracking store {self._store} cannot be written. {error.message}. The run continues; its records "
                f"{self.kept.where} until the store can be written. {error.hint}"
            )

    def _find(self) -> None:
        with self._wake:
            was_lost, self.trouble, self._pause_s = self.trouble is not None, None, _FIRST_PAUSE_S
            if was_lost and not self._is_given_up:
                self.kept.discard()
        if was_lost:
            self._say(f"The tracking store {self._store} can be written again.")

    def _say(self, message: str) -> None:
        try:
            self.tell(message)
        except Exception as error:  # of an observer: the run's own thread raises it
            self._refuse(error)

    def _raise_refused(self) -> None:
        refused, self._refused = self._refused, None
        if refused is not None:
            raise refused

    def _waiting(self) -> list[str]:
        waiting = self._sent + self._records
        parts = {"metric values": waiting.metrics, "parameters": waiting.params, "tags": waiting.tags}
        calls = dict.fromkeys(call.what for call in self._calls)
        return [*(f"{len(some)} {name}" for name, some in parts.items() if some), *calls]
