"""Delivers what was kept on disk while a store was lost."""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass, field
from functools import partial
from pathlib import Path
from typing import Any

from regplug.errors import RegplugError, TrackingError
from regplug.tracking import entries, limits, reaching, reading
from regplug.tracking.outbox import FOLDER, Kept, kept_in, run_of, taken
from regplug.tracking.patience import FOR_FILES, bounded
from regplug.tracking.run_end import clear_error, write_end
from regplug.tracking.trouble import is_refusal, tracking_trouble

_DOING = "It could not be delivered"


@dataclass(frozen=True, kw_only=True)
class Synced:
    """What became of the undelivered records of one run.

    Args:
        run_id: The run.
        name: Its name.
        store: Its store, without a password.
        status: Its status in the store now; empty if the store does not have the run.
        delivered: What was delivered, and how many: metric values, parameters, tags, files, datasets, runs, models.
        why: Why something is left; empty if nothing is.
        path: Where it is kept.
        is_busy: Whether it is left because it is being written or delivered already.
    """

    run_id: str
    name: str
    store: str
    status: str = ""
    delivered: Mapping[str, int] = field(default_factory=dict)
    why: str = ""
    path: Path
    is_busy: bool = False

    def document(self) -> dict[str, Any]:
        """Returns plain values for JSON."""
        return {
            "run_id": self.run_id,
            "name": self.name,
            "tracking_uri": self.store,
            "status": self.status or None,
            "delivered": dict(self.delivered),
            "left": {"why": self.why, "path": str(self.path)} if self.why else None,
        }


def has_undelivered(folder: Path) -> bool:
    """Returns whether something is kept in the folder of a location."""
    return bool(kept_in(folder / FOLDER))


def sync(client: Any, folder: Path, reach: Callable[[], object] | None, run_id: str = "") -> Iterator[Synced]:
    """Delivers what is kept, run by run; ends with the first run during which the store is lost.

    Args:
        client: MLflow's client on the store.
        folder: The folder of its location.
        reach: Raises an error if the store cannot be reached; `None` for a file.
        run_id: Only this run; by default all.

    Yields:
        What became of the records of each run.
    """
    for path in kept_in(folder / FOLDER, run_id):
        with taken(path) as kept:
            if kept is None:
                run = run_of(path)
                if run is not None:
                    yield _left_alone(path, run)
                continue
            delivering = _Delivering(client, kept, reach)
            yield delivering.carry_out()
            if delivering.is_lost:
                return


class _Delivering:
    """Delivers one run.

    Args:
        client: MLflow's client.
        kept: What is kept.
        reach: As for `sync`.
    """

    def __init__(self, client: Any, kept: Kept, reach: Callable[[], object] | None) -> None:
        self._client, self._kept, self._reach = client, kept, reach
        self._delivered: Counter[str] = Counter()
        self._run_id = kept.run["run_id"]
        self.is_lost = False

    def carry_out(self) -> Synced:
        """Delivers in the order in which it was written; a refused write stays on disk."""
        refused: list[str] = []
        status = ""
        try:
            run = self._do(lambda: self._client.get_run(self._run_id))
            status = run.info.status
            for step in self._steps(run):
                try:
                    self._do(step)
                except RegplugError as error:
                    if not isinstance(error, TrackingError) or is_refusal(error):
                        refused.append(error.message)
                    else:
                        raise
            if not refused:
                status = self._do(self._end)
                self._kept.discard()
        except TrackingError as error:
            self.is_lost = not is_refusal(error)
            refused.append(error.message)
        return self._told(status, " ".join(refused))

    def _do(self, step: Callable[[], Any]) -> Any:
        with tracking_trouble(_DOING), bounded(FOR_FILES):
            return reaching.watched(step, self._reach)

    def _steps(self, run: Any) -> Iterator[Callable[[], None]]:
        yield self._send_records
        for place, entry in self._kept.writes():
            yield partial(self._send, run, place, entry)

    def _send_records(self) -> None:
        records = self._kept.records()
        limits.log_records(self._client, self._run_id, records)
        self._kept.drop_records()
        self._delivered += Counter(
            {"metric values": len(records.metrics), "parameters": len(records.params), "tags": len(records.tags)}
        )

    def _send(self, run: Any, place: Path, entry: dict[str, Any]) -> None:
        what, count = entries.deliver(self._client, run, place, entry)
        self._kept.drop(place)
        self._delivered[what] += count

    def _end(self) -> str:
        """Ends the run as it ended; the status of a run whose process was killed stays."""
        end = self._kept.end
        if end is None:
            return str(self._client.get_run(self._run_id).info.status)
        # The store may call it killed, or failed because of what it did not have.
        clear_error(self._client, reading.to_info(self._client.get_run(self._run_id), ""), {})
        write_end(self._client, self._run_id, end["status"], end["why"], end["ended_ms"])
        return str(end["status"])

    def _told(self, status: str, why: str) -> Synced:
        run = self._kept.run
        return Synced(
            run_id=self._run_id,
            name=run["name"],
            store=run["store"],
            status=status,
            delivered=+self._delivered,
            why=why,
            path=self._kept.path,
        )


def _left_alone(path: Path, run: Mapping[str, str]) -> Synced:
    return Synced(
        run_id=run["run_id"],
        name=run["name"],
        store=run["store"],
        why="The run is being written or delivered already.",
        path=path,
        is_busy=True,
    )
