"""A little space on the disk, held while a run is written: when the disk is full, its end can still be told."""

from __future__ import annotations

import os
import tempfile
import weakref
from pathlib import Path

SIZE_BYTES = 128 << 10
"""Enough for the pages in which a SQLite database notes how a run ended."""


class Reserve:
    """Space beside a database. The file has no name, so that it goes with the process, however that ends.

    Args:
        folder: The database's folder; `None` where the store is elsewhere, and nothing is held.

    Raises:
        OSError: There is no such space.
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
    os.ftruncate(handle, 0)  # a forked process may hold the file as well
    os.close(handle)
    return True
