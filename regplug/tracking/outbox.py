"""Keeps on disk what a lost store has not received of a run, until it can be delivered.

    undelivered/RUN-TIME/run.json         the run and its store
                         records.jsonl    metrics, parameters and tags, a line each time
                         writes/000001/   other writes: entry.json and the folder content
                         end.json         how the run ended
                         lock             locked by the process that writes or delivers it

Only the user can read it.
"""

from __future__ import annotations

import json
import os
import shutil
import time
from collections.abc import Iterator, Mapping
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import Any

from regplug.tracking.records import CONTENT, Call, Records

FOLDER = "undelivered"
"""Folder beside the store, or in `mlruns` of the current folder for a store on another machine."""

_RUN, _RECORDS, _WRITES, _ENTRY, _END, _LOCK = "run.json", "records.jsonl", "writes", "entry.json", "end.json", "lock"


class Outbox:
    """What one run has not delivered. Its folder is created when there is something to keep.

    Args:
        folder: Where the folder is created.
        run: Facts about the run: `run_id`, `name`, `experiment_id`, `store`.
    """

    def __init__(self, folder: Path, run: Mapping[str, str]) -> None:
        self.path = folder / f"{run['run_id']}-{time.time_ns() // 1_000_000}"
        self._run = dict(run)
        self._lock: Any = None
        self._count = 0

    @property
    def is_used(self) -> bool:
        """Whether something is kept."""
        return self._lock is not None

    def keep_records(self, records: Records) -> None:
        """Adds records."""
        if records:
            self._open()
            with _opened(self.path / _RECORDS, os.O_APPEND) as file:
                file.write(json.dumps(records.to_dict()) + "\n")

    def replace_records(self, records: Records) -> None:
        """Keeps only these records, because the others were delivered."""
        if not self.is_used:
            return
        if records:
            _write(self.path / _RECORDS, records.to_dict())
        else:
            (self.path / _RECORDS).unlink(missing_ok=True)

    def keep_call(self, call: Call) -> Path:
        """Adds another write; returns its place."""
        self._open()
        self._count += 1
        place = self.path / _WRITES / f"{self._count:06d}"
        draft = place.with_name(f"{place.name}.part")
        (draft / CONTENT).mkdir(parents=True)
        try:
            _write(draft / _ENTRY, {**call.keep(draft), "what": call.what})
        except BaseException:
            shutil.rmtree(draft, ignore_errors=True)
            raise
        return draft.rename(place)

    def drop_call(self, place: Path) -> None:
        """Removes another write, because it was delivered; after `release` it belongs to whoever delivers it."""
        if self.is_used:
            _remove(place)

    def keep_end(self, status: str, why: str) -> None:
        """Keeps how the run ended, now."""
        self._open()
        _write(self.path / _END, {"status": status, "why": why, "ended_ms": int(time.time() * 1000)})

    def discard(self) -> None:
        """Removes all, because it was delivered."""
        if self.is_used:
            _remove_all(self.path)
            self.release()

    def release(self) -> None:
        """Leaves it to be delivered later, by any process."""
        if self._lock is not None:
            self._lock.release()
            self._lock = None

    def _open(self) -> None:
        if self._lock is not None:
            return
        (self.path / _WRITES).mkdir(parents=True, exist_ok=True, mode=0o700)
        self.path.chmod(0o700)
        self.path.parent.chmod(0o700)
        self._lock = _lock(self.path)
        self._lock.acquire(timeout=0)
        _write(self.path / _RUN, self._run)


class Kept:
    """An outbox on disk that is delivered now. Created by `taken`.

    Args:
        path: Its folder.
    """

    def __init__(self, path: Path) -> None:
        self.path = path
        self.run: dict[str, str] = _facts(path)

    @property
    def end(self) -> dict[str, Any] | None:
        """How the run ended: `status`, `why` and `ended_ms`; `None` if its process was killed."""
        with suppress(FileNotFoundError, ValueError):
            return _read(self.path / _END)
        return None

    def records(self) -> Records:
        """Returns the records; of a line that was being written when the process was killed, none."""
        metrics, params, tags = list[Any](), list[Any](), dict[str, str]()
        file = self.path / _RECORDS
        for line in file.read_text(encoding="utf-8").splitlines() if file.exists() else ():
            try:
                records = Records.from_dict(json.loads(line))
            except ValueError:
                break
            metrics += records.metrics
            params += records.params
            tags |= records.tags
        return Records(metrics, params, tags)

    def drop_records(self) -> None:
        """Removes the records, because they were delivered."""
        (self.path / _RECORDS).unlink(missing_ok=True)

    def writes(self) -> list[tuple[Path, dict[str, Any]]]:
        """Returns the other writes in their order: the folder and the entry of each."""
        places = sorted(each for each in (self.path / _WRITES).iterdir() if not each.suffix)
        return [(place, _read(place / _ENTRY)) for place in places]

    def drop(self, place: Path) -> None:
        """Removes a write, because it was delivered."""
        _remove(place)

    def discard(self) -> None:
        """Removes all."""
        _remove_all(self.path)


def kept_in(folder: Path, run_id: str = "") -> list[Path]:
    """Returns the folders of what is not delivered, of one run or of all; those of one run in their order."""
    return sorted(path.parent for path in folder.glob(f"{run_id or '*'}-*/{_RUN}"))


@contextmanager
def taken(path: Path) -> Iterator[Kept | None]:
    """Opens an outbox for delivery; gives `None` if another process writes or delivers it."""
    from filelock import Timeout

    lock = _lock(path)
    try:
        lock.acquire(timeout=0)
    except (Timeout, FileNotFoundError):
        yield None
        return
    try:
        if (path / _RUN).exists():
            yield Kept(path)
        else:
            _remove_all(path)  # the lock has created the folder that another process had just removed
            yield None
    finally:
        lock.release()


def run_of(path: Path) -> dict[str, str] | None:
    """Returns the facts about the run of an outbox; `None` if it was delivered meanwhile."""
    try:
        return _facts(path)
    except FileNotFoundError:
        return None


def _facts(path: Path) -> dict[str, str]:
    """Returns the facts about the run of an outbox; without the file's content, those that the folder's name tells."""
    try:
        return _read(path / _RUN)
    except ValueError:
        run_id = path.name.partition("-")[0]
        return {"run_id": run_id, "name": run_id[:8], "store": "an unknown store"}


def _remove_all(path: Path) -> None:
    """Removes an outbox; without its first file it is none, even if the process is killed in between."""
    (path / _RUN).unlink(missing_ok=True)
    shutil.rmtree(path, ignore_errors=True)


def _remove(place: Path) -> None:
    """Removes a write. It is renamed first, because a process may be killed while it removes a folder."""
    shutil.rmtree(place.rename(place.with_suffix(".part")), ignore_errors=True)


def _lock(path: Path) -> Any:
    from filelock import FileLock

    return FileLock(path / _LOCK, thread_local=False, mode=0o600)


def _write(path: Path, document: Mapping[str, Any]) -> None:
    """Writes a file wholly or not at all, even on a full disk or if the process is killed."""
    draft = path.with_name(f"{path.name}.part")
    with _opened(draft, os.O_TRUNC) as file:
        file.write(json.dumps(document) + "\n")
    draft.replace(path)


@contextmanager
def _opened(path: Path, flag: int) -> Iterator[Any]:
    handle = os.open(path, os.O_WRONLY | os.O_CREAT | flag, 0o600)
    with os.fdopen(handle, "w", encoding="utf-8") as file:
        yield file


def _read(path: Path) -> dict[str, Any]:
    read: dict[str, Any] = json.loads(path.read_text(encoding="utf-8"))
    return read
