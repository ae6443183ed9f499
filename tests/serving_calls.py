"""A bundle's server as a process of its own, and many clients that keep their connections."""

from __future__ import annotations

import asyncio
import contextlib
import json
import os
import re
import subprocess
import sys
from collections.abc import Iterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from waiting import end_group, wait_until

JSON_TYPE = "application/json"


@dataclass
class Server:
    """A server that answers.

    Args:
        process: Its process.
        port: Its port on the loopback.
        log: What it says.
    """

    process: subprocess.Popen[bytes]
    port: int
    log: Path

    def ask(self, method: str, path: str, body: bytes = b"", kind: str = JSON_TYPE) -> tuple[int, bytes]:
        """One request on a connection of its own."""

        async def asked() -> tuple[int, bytes]:
            client = Client(self.port)
            try:
                return await client.ask(method, path, body, kind)
            finally:
                client.close()

        return asyncio.run(asked())

    def predict(self, document: Any) -> tuple[int, Any]:
        """Posts a JSON document."""
        status, body = self.ask("POST", "/predict", json.dumps(document).encode())
        return status, json.loads(body)


@contextlib.contextmanager
def serving(bundle: Path, folder: Path, *options: object) -> Iterator[Server]:
    """Starts `regplug serve` on a free port, and ends it."""
    log = folder / "serve.log"
    command = [sys.executable, "-m", "regplug", "serve", str(bundle), "--port", "0", *map(str, options)]
    with log.open("wb") as file:
        process = subprocess.Popen(
            command, stdout=file, stderr=file, start_new_session=True, env={**os.environ, "PYTHONUNBUFFERED": "1"}
        )
    try:
        wait_until(lambda: "is served at" in log.read_text(), process, log)
        (port,) = re.findall(r"http://[^\s:]+:(\d+)", log.read_text())
        yield Server(process, int(port), log)
    finally:
        end_group(process)


@dataclass
class Client:
    """One client, which keeps its connection as long as the server does."""

    port: int
    _reader: Any = field(default=None, repr=False)
    _writer: Any = field(default=None, repr=False)

    async def ask(self, method: str, path: str, body: bytes = b"", kind: str = JSON_TYPE) -> tuple[int, bytes]:
        """Sends one request and reads its answer."""
        await self.begin(method, path, len(body), kind)
        return await self.finish(body)

    async def begin(self, method: str, path: str, length: int, kind: str = JSON_TYPE) -> None:
        """Sends the head of a request."""
        if self._writer is None or self._writer.is_closing():
            self._reader, self._writer = await asyncio.open_connection("127.0.0.1", self.port)
        head = (
            f"{method} {path} HTTP/1.1\r\nHost: 127.0.0.1\r\nContent-Type: {kind}\r\nContent-Length: {length}\r\n\r\n"
        )
        self._writer.write(head.encode())
        await self._writer.drain()

    async def finish(self, body: bytes) -> tuple[int, bytes]:
        """Sends the body and reads the answer."""
        self._writer.write(body)
        await self._writer.drain()
        head = (await self._reader.readuntil(b"\r\n\r\n")).decode().lower()
        length = int(re.search(r"content-length: (\d+)", head)[1])  # type: ignore[index] # every answer has one
        answer = await self._reader.readexactly(length)
        if "connection: close" in head:
            self.close()
        return int(head.split()[1]), answer

    def close(self) -> None:
        """Ends the connection."""
        if self._writer is not None:
            self._writer.close()
            self._writer = None


def form_of(files: dict[str, bytes]) -> tuple[bytes, str]:
    """A form with files: its body and content type."""
    parts = [
        b'--xyz\r\nContent-Disposition: form-data; name="image"; filename="%b"\r\n'
        b"Content-Type: application/octet-stream\r\n\r\n%b\r\n" % (name.encode(), content)
        for name, content in files.items()
    ]
    return b"".join(parts) + b"--xyz--\r\n", "multipart/form-data; boundary=xyz"
