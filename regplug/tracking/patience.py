"""How long MLflow waits for a server while a run is written, where the user has not said so.

By itself it waits for up to 120 s, eight times, and no word is heard meanwhile.
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
    """How long an answer is waited for.

    Args:
        timeout_s: Seconds without a byte until an attempt has failed.
        retries: Attempts after the first.
    """

    timeout_s: int
    retries: int = 1


WHILE_TRAINING = Patience(4)
"""Within ten seconds a server that is gone is told; what was not taken is sent again later."""

AT_THE_ENDS = Patience(20)
"""Where a run starts and ends: a busy server gets the time that it needs."""

FOR_FILES = Patience(120)
"""A server answers when it has stored the whole file."""

_lock = threading.Lock()
_held: list[Patience] = []
_ours: set[str] = set()


@contextmanager
def bounded(patience: Patience) -> Iterator[None]:
    """Bounds what MLflow waits; of several at once, in several threads, the most patient counts.

    Args:
        patience: The bounds. A variable of the environment that the user has set wins.
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
