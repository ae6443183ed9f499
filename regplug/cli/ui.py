"""`regplug ui`: runs MLflow's UI on the tracking store until it is interrupted."""

from __future__ import annotations

import contextlib
import os
import signal
import socket
import subprocess
import time
from collections.abc import Iterator
from dataclasses import replace
from typing import TYPE_CHECKING, Annotated, Any

import typer

from regplug.cli.options import Command, Json, TrackingUri, new_app
from regplug.cli.output import emit, note, say
from regplug.errors import RequestError, TrackingError

if TYPE_CHECKING:
    from regplug.tracking.location import Location

app = new_app()

_START_TIMEOUT_S = 180.0  # 54 s were seen on two busy cores
_STOP_TIMEOUT_S = 10.0
_POLL_S = 0.1


@app.command(cls=Command)
def ui(
    port: Annotated[int, typer.Option("--port", help="Port to listen on.", min=1, max=65535)] = 5000,
    host: Annotated[str, typer.Option("--host", help="Network interface to listen on.")] = "127.0.0.1",
    tracking_uri: TrackingUri = None,
    json: Json = False,
) -> None:
    """Start the MLflow UI on the tracking store; Ctrl-C ends it."""
    from regplug.tracking.location import resolve_location
    from regplug.tracking.ui import ui_command

    location = resolve_location(tracking_uri)
    command = ui_command(location, host, port)
    location.require_there()
    _require_free(host, port)
    address = f"http://{host}:{port}"
    with _child(command, location) as process:
        _wait_until_it_answers(process, host, port)
        try:
            page = _first_page(address)
            if json:
                emit({"address": address, "runs_url": page, "tracking_uri": location.shown, "pid": process.pid})
            else:
                say(f"MLflow UI  {page}", f"store      {location.shown}", "Ctrl-C ends it.")
            code = process.wait()
        except KeyboardInterrupt:
            note("The MLflow UI has ended.")  # it was interrupted, which is not a failure
            return
    raise TrackingError(f"The MLflow UI stopped unexpectedly (exit code {code}).", hint="See its output above.")


def _first_page(address: str) -> str:
    """Returns the page with the newest runs, or the start page if the UI does not say which it is."""
    from regplug.tracking.ui import newest_url

    with contextlib.suppress(OSError, ValueError, KeyError):
        return newest_url(address)
    return address


def _require_free(host: str, port: int) -> None:
    with socket.socket() as probe:
        probe.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        try:
            probe.bind((host, port))
        except OSError as error:
            raise RequestError(
                f"{host}:{port} cannot be listened on: {error.strerror}.",
                hint=f"Choose another port: --port {port % 65535 + 1}",
            ) from None


@contextlib.contextmanager
def _child(command: list[str], location: Location) -> Iterator[subprocess.Popen[bytes]]:
    """Runs a process in its own group, and ends the group at the end of the block, also after SIGTERM."""
    from regplug.tracking.ui import ui_environment

    folder = None
    if location.database is not None and "%" in location.uri:
        # MLflow would create a folder with the quoted name; relative to the file's own folder, no quotes are needed.
        folder = location.database.parent
        location = replace(location, uri=f"sqlite:///{location.database.name}")
    environment = ui_environment(location)
    process = subprocess.Popen(command, env=environment, cwd=folder, start_new_session=True, stdout=2)  # noqa: S603  # ours
    before = signal.signal(signal.SIGTERM, _interrupt)
    try:
        yield process
    finally:
        signal.signal(signal.SIGTERM, before)
        _end(process)


def _interrupt(*_: Any) -> None:
    raise KeyboardInterrupt


def _end(process: subprocess.Popen[bytes]) -> None:
    """Asks the group to end, waits for its leader, and kills the remaining processes."""
    for number in (signal.SIGTERM, signal.SIGKILL):
        with contextlib.suppress(ProcessLookupError):  # all of them have already ended
            os.killpg(process.pid, number)
        with contextlib.suppress(subprocess.TimeoutExpired):
            process.wait(_STOP_TIMEOUT_S)


def _wait_until_it_answers(process: subprocess.Popen[bytes], host: str, port: int) -> None:
    until = time.monotonic() + _START_TIMEOUT_S
    while time.monotonic() < until:
        if process.poll() is not None:
            break
        with contextlib.suppress(OSError), socket.create_connection((host, port), timeout=1):
            return
        time.sleep(_POLL_S)
    raise TrackingError(
        f"The MLflow UI did not start on {host}:{port}"
        + (f" (exit code {process.returncode})." if process.returncode else "."),
        hint="See its output above.",
    )
