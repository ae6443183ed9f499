"""Pauses the garbage collector during large imports, where it takes a tenth of the time and finds nothing."""

from __future__ import annotations

import gc
import sys
from collections.abc import Iterator
from contextlib import contextmanager


@contextmanager
def uncollected() -> Iterator[None]:
    """Pauses the garbage collector.

    Right afterwards it would search all new objects. So if modules were imported, the objects are frozen in a process
    that has frozen others (`gc.freeze`), as the command line does. Elsewhere they might be a caller's garbage.
    """
    was_enabled, known = gc.isenabled(), len(sys.modules)
    gc.disable()
    try:
        yield
    finally:
        if len(sys.modules) > known and _has_frozen():
            gc.freeze()
        if was_enabled:
            gc.enable()


def _has_frozen() -> bool:
    """Returns whether this process has frozen objects. Asks only until it has: counting them walks through them all."""
    _Process.has_frozen = _Process.has_frozen or gc.get_freeze_count() > 0
    return _Process.has_frozen


class _Process:
    has_frozen = False
