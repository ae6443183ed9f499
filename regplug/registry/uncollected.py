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
        # Asked last: counting walks through all frozen objects, which takes a tenth of a second on the command line.
        if len(sys.modules) > known and gc.get_freeze_count():
            gc.freeze()
        if was_enabled:
            gc.enable()
