"""Makes sure that one process resumes a run, even if two are started at the same moment."""

from __future__ import annotations

import contextlib
import fcntl
import os
import time
from collections.abc import Iterator
from pathlib import Path

from regplug.errors import RequestError
from regplug.tracking.liveness import PROCESS_TAG
from regplug.tracking.reading import RunInfo

_WAIT_S = 20.0
_POLL_S = 0.05


@contextlib.contextmanager
def claiming(folder: Path) -> Iterator[None]:
    """Executes the block in one process of this machine at a time.

    The lock is of the folder itself, so that no file is left; where the file system has no locks, it has no effect.

    Args:
        folder: Folder beside the store, which need not exist.
    """
    there = next(path for path in (folder, *folder.absolute().parents) if path.is_dir())
    handle = os.open(there, os.O_RDONLY)
    try:
        _lock(handle)
        yield
    finally:
        os.close(handle)


def _lock(handle: int) -> None:
    until = time.monotonic() + _WAIT_S
    while time.monotonic() < until:  # a process that was stopped in the block holds it for ever
        try:
            fcntl.flock(handle, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            time.sleep(_POLL_S)
        except OSError:
            return
        else:
            return


def require_unclaimed(now: RunInfo, seen: RunInfo | None) -> None:
    """Checks that no process writes a run, nor has written it since its checkpoint was read.

    Args:
        now: The run.
        seen: The run as it was before its checkpoint was read; `None` if it is not continued from one.

    Raises:
        RequestError: A process does, or has.
    """
    named, process = f"Run {now.name} ({now.run_id[:8]})", now.tags.get(PROCESS_TAG)
    if now.status == "RUNNING" and not now.is_stale and process is not None:
        raise RequestError(
            f"{named} is being written by process {process}.", hint="Wait until it ends, or end that process."
        )
    if seen is None:
        return
    if now.status == "FINISHED":
        raise RequestError(f"{named} was finished by another process meanwhile.", hint="Nothing is left to do.")
    if process != seen.tags.get(PROCESS_TAG):
        raise RequestError(f"{named} was resumed by another process meanwhile.", hint="Repeat the command.")
