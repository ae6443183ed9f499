"""Finds out within seconds whether a store can be reached. Does not import mlflow, which would wait for minutes."""

from __future__ import annotations

import http.client
import socket
import ssl
import struct
import threading
import urllib.error
import urllib.request
from collections.abc import Callable
from contextlib import closing
from typing import Generic, TypeVar
from urllib.parse import urlsplit

from regplug.tracking.location import Location
from regplug.tracking.secrets import without_login

REACH_TIMEOUT_S = 5.0
"""Timeout for a server or a database when a store is opened."""

PROBE_TIMEOUT_S = 4.5
"""Timeout for a server or a database while a run is written."""

STUCK_AFTER_S = 1.5
"""After so long without an answer, another connection finds out whether the store still responds."""

_PORTS = {"postgresql": 5432, "mysql": 3306, "mssql": 1433}
_ASKS_FOR_TLS = struct.pack("!ii", 8, 80877103)
"""PostgreSQL's first message, which it answers with one byte before anybody logs in."""
_TALKS = ("postgresql", "mysql")
"""Databases that send something before anybody logs in."""
_GATEWAY_ERRORS = (502, 503, 504)
"""Answers of a reverse proxy whose server is gone."""

_T = TypeVar("_T")


def within(seconds: float, call: Callable[[], _T]) -> _T:
    """Returns what a function returns, or gives it up: its thread then ends by itself or with the process.

    Args:
        seconds: How long to wait.
        call: The function.

    Raises:
        TimeoutError: It took longer.
    """
    answer = _Answer(call)
    if not answer.ended.wait(seconds):
        raise TimeoutError(f"timed out after {seconds:.0f} s")
    return answer.get()


def watched(call: Callable[[], _T], reach: Callable[[], object] | None) -> _T:
    """Returns what a function returns; gives it up once it waits for a store that cannot be reached any more.

    Args:
        call: Writes to the store.
        reach: Raises an error if the store cannot be reached; `None` for a file, which is always there.
    """
    if reach is None:
        return call()
    answer = _Answer(call)
    while not answer.ended.wait(STUCK_AFTER_S):
        try:
            reach()
        except Exception:
            if not answer.ended.is_set():
                raise
    return answer.get()


class _Answer(Generic[_T]):
    """What a function returns or raises, once its thread has ended."""

    def __init__(self, call: Callable[[], _T]) -> None:
        self.ended = threading.Event()
        self._call, self._found, self._error = call, list[_T](), list[BaseException]()
        threading.Thread(target=self._work, name="regplug-tracking-reach", daemon=True).start()

    def get(self) -> _T:
        """Returns or raises it."""
        for error in self._error:
            raise error
        return self._found[0]

    def _work(self) -> None:
        try:
            self._found.append(self._call())
        except BaseException as error:  # raised by `get`
            self._error.append(error)
        finally:
            self.ended.set()


def reach(location: Location, timeout_s: float) -> None:
    """Checks that the machine of a store takes connections, and that a server answers. Sends no password.

    Args:
        location: The store; a SQLite file is not checked.
        timeout_s: How long to wait, in all.

    Raises:
        OSError: It does not.
    """
    if location.kind == "server" and location.uri.startswith(("http://", "https://")):
        within(timeout_s, lambda: _ask(without_login(location.uri), timeout_s))
    elif location.kind == "database":
        within(timeout_s, lambda: _connect(location.uri, timeout_s))


def _ask(uri: str, timeout_s: float) -> None:
    request = urllib.request.Request(f"{uri.rstrip('/')}/health")  # noqa: S310 - http or https
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT)
    # MLflow's client checks the certificate, as the user has set it up; this request has nothing to hide.
    context.check_hostname, context.verify_mode = False, ssl.CERT_NONE
    try:
        with urllib.request.urlopen(request, timeout=timeout_s, context=context):  # noqa: S310 - http or https
            pass
    except urllib.error.HTTPError as answer:
        with answer:
            if answer.code in _GATEWAY_ERRORS:
                raise ConnectionError(f"it answered {answer.code} {answer.reason}") from None
    except urllib.error.URLError as error:
        raise error.reason if isinstance(error.reason, OSError) else ConnectionError(str(error.reason)) from None
    except http.client.HTTPException as error:
        raise ConnectionError(f"its answer is not HTTP: {error!r}") from None


def _connect(uri: str, timeout_s: float) -> None:
    """Connects to a database, and waits for its first byte: a stopped one takes connections, but says nothing."""
    address = urlsplit(uri)
    kind = address.scheme.partition("+")[0]
    port = address.port or _PORTS.get(kind)
    if not address.hostname or not port:
        return
    with closing(socket.create_connection((address.hostname, port), timeout=timeout_s)) as connection:
        if kind == "postgresql":
            connection.sendall(_ASKS_FOR_TLS)
        if kind in _TALKS and not connection.recv(1):
            raise ConnectionError("it closed the connection")
