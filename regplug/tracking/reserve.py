"""Reserves some disk space while a run is written, so that its end can be stored even on a full disk."""

from __future__ import annotations

import os
import tempfile
import weakref
from pathlib import Path

SIZE_BYTES = 128 << 10
"""Enough for the pages that a SQLite database writes at the end of a run."""


class Reserve:
    """Reserved space next to a database, in an unlinked file that disappears with the process.

    Args:
        folder: The database's folder; `None` if the store is elsewhere, so that nothing is reserved.

    Raises:
        OSError: There is not enough space.
    """

    def __init__(self, folder: Path | None) -> None:
        self._free = _hold(self, folder) if folder is not None else None

    def give_back(self) -> bool:
        """Frees the space; returns whether there was any."""
        return self._free is not None and self._free() is not None


def _hold(reserve: Reserve, folder: Path) -> weakref.finalize[[int], Reserve]:
    handle, name = tempfile.mkstemp(dir=folder, prefix=".regplug-")
    os.unlink(name)  # noqa: PTH108 - a name, not a path
    free = weakref.finalize(reserve, _free, handle)
    try:
        os.write(handle, bytes(SIZE_BYTES))
    except OSError:
        free()
        raise
    return free


def _free(handle: int) -> bool:
    os.ftruncate(handle, 0)  # a forked process may hold the file open as well
    os.close(handle)
    return True
