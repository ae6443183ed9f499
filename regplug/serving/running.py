"""Runs the server until it is asked to end; requests that have begun are answered first."""

from __future__ import annotations

import asyncio
import contextlib
import signal
import socket
from collections.abc import Callable, Iterator
from typing import Any

import uvicorn

from regplug.errors import RequestError
from regplug.serving.app import make_app
from regplug.serving.model import ServedModel

DRAIN_S = 30
"""Time for requests that have begun before the server was asked to end."""


class _Server(uvicorn.Server):
    """A server that ends normally on SIGTERM and Ctrl-C; uvicorn would send itself the signal again."""

    @contextlib.contextmanager
    def capture_signals(self) -> Iterator[None]:
        loop = asyncio.get_running_loop()
        for number in (signal.SIGTERM, signal.SIGINT):
            loop.add_signal_handler(number, self.handle_exit, number, None)
        try:
            yield
        finally:
            for number in (signal.SIGTERM, signal.SIGINT):
                loop.remove_signal_handler(number)


def open_socket(host: str, port: int) -> socket.socket:
    """Opens the socket that the server listens on.

    Args:
        host: A name or an address.
        port: A port, or 0 for a free one.

    Raises:
        RequestError: The port is taken, or the host is not one of this machine.
    """
    family = socket.AF_INET6 if ":" in host else socket.AF_INET
    try:
        return socket.create_server((host, port), family=family, backlog=1024)
    except (OSError, OverflowError) as error:
        reason = getattr(error, "strerror", None) or error
        raise RequestError(
            f"The server cannot listen on {host}, port {port}: {reason}.", hint="Choose another --port, or --host."
        ) from None


def serve(model: ServedModel, listening: socket.socket, *, most_bytes: int, tell: Callable[[str], Any]) -> None:
    """Serves a model until SIGTERM or Ctrl-C.

    Args:
        model: The model.
        listening: Where to listen.
        most_bytes: Size of the largest body.
        tell: Receives the address as soon as the server answers.
    """
    config = uvicorn.Config(
        make_app(model, most_bytes=most_bytes),
        log_level="warning",
        access_log=False,
        lifespan="on",
        server_header=False,
        timeout_graceful_shutdown=DRAIN_S,
    )
    host, port = listening.getsockname()[:2]
    shown = f"[{host}]" if ":" in host else host
    asyncio.run(_serve(_Server(config), listening, lambda: tell(f"http://{shown}:{port}")))


async def _serve(server: _Server, listening: socket.socket, started: Callable[[], Any]) -> None:
    working = asyncio.create_task(server.serve(sockets=[listening]))
    while not server.started and not working.done():
        await asyncio.sleep(0.02)
    if server.started:
        started()
    await working
