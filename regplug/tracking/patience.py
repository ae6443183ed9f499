"""Bounds how long MLflow waits for a server while a run is written, unless the user has set it.

By default MLflow waits silently for up to 120 s, eight times.
"""

from __future__ import annotations

import os
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass

_TIMEOUT = "MLFLOW_HTTP_REQUEST_TIMEOUT"
_RETRIES = "MLFLOW_HTTP_REQUEST_MAX_RETRIES"
_DATABASE_TIMEOUT = "PGCONNECT_TIMEOUT"


@dataclass(frozen=True)
class Patience:
    """Timeout and retries of requests.

    Args:
        timeout_s: Seconds without data after which an attempt fails.
        retries: Number of attempts after the first.
    """

    timeout_s: int
    retries: int = 1


WHILE_TRAINING = Patience(4)
"""During a run: reports a lost server within ten seconds; unsent records are sent again later."""

AT_THE_ENDS = Patience(20)
"""At the start and end of a run: gives a busy server more time."""

FOR_FILES = Patience(120)
"""For files: a server answers only after it has stored the whole file."""

_lock = threading.Lock()
_held: list[Patience] = []
_ours: set[str] = set()


@contextmanager
def bounded(patience: Patience) -> Iterator[None]:
    """Bounds MLflow's timeouts and retries; with several in different threads, the longest applies.

    Args:
        patience: The bounds. An environment variable that the user has set takes precedence.
    """
    with _lock:
        _held.append(patience)
        _apply()
    try:
        yield
    finally:
        with _lock:
            _held.remove(patience)
            _apply()


def _apply() -> None:
    timeout = str(max((each.timeout_s for each in _held), default=0))
    retries = str(max((each.retries for each in _held), default=0))
    for name, value in ((_TIMEOUT, timeout), (_RETRIES, retries), (_DATABASE_TIMEOUT, timeout)):
        if name in os.environ and name not in _ours:
            continue
        if _held:
            os.environ[name] = value
            _ours.add(name)
        else:
            os.environ.pop(name, None)
            _ours.discard(name)
