"""Gives up the import of a plugin that does not end."""

from __future__ import annotations

import os
import signal
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

IMPORT_TIMEOUT_S = 60.0
TIMEOUT_VARIABLE = "REGPLUG_IMPORT_TIMEOUT_S"
_AGAIN_S = 1.0


class PluginTimeout(BaseException):
    """Raised inside code of a plugin that takes too long; not an `Exception`, which the code itself might catch."""


@contextmanager
def patient() -> Iterator[None]:
    """Limits the time of the block, in the main thread of a system with timers; elsewhere it has no effect.

    The limit is `REGPLUG_IMPORT_TIMEOUT_S`, else a minute. Waiting, also for a lock or a server, is interrupted;
    compiled code that runs without returning to Python is not.

    Raises:
        PluginTimeout: The time is over. It is raised again every second, until the block ends.
    """
    limit_s = timeout_s()
    is_possible = hasattr(signal, "setitimer") and threading.current_thread() is threading.main_thread()
    # A caller that uses the timer itself keeps it.
    if not is_possible or signal.getitimer(signal.ITIMER_REAL)[0]:
        yield
        return

    def give_up(*_: Any) -> None:
        raise PluginTimeout(f"did not end within {limit_s:g} s ({TIMEOUT_VARIABLE} sets the limit)")

    before = signal.signal(signal.SIGALRM, give_up)
    signal.setitimer(signal.ITIMER_REAL, limit_s, _AGAIN_S)
    try:
        yield
    finally:
        signal.setitimer(signal.ITIMER_REAL, 0)
        signal.signal(signal.SIGALRM, before)


def timeout_s() -> float:
    """Returns the limit in seconds; a value that is not a positive number is ignored."""
    try:
        limit = float(os.environ.get(TIMEOUT_VARIABLE, ""))
    except ValueError:
        return IMPORT_TIMEOUT_S
    return limit if 0 < limit < float("inf") else IMPORT_TIMEOUT_S
