"""A real MLflow server for tests, on a database of its own."""

from __future__ import annotations

import contextlib
import os
import signal
import socket
import subprocess
import sys
import time

import pytest


class Server:
    """An `mlflow server` that answers.

    Args:
        folder: Where its database, files and log are.
        backend: Its database; by default SQLite in the folder.
    """

    def __init__(self, folder, backend=""):
        with socket.socket() as free:
            free.bind(("127.0.0.1", 0))
            port = free.getsockname()[1]
        self.address = f"http://127.0.0.1:{port}"
        command = [sys.executable, "-m", "mlflow", "server", "--host", "127.0.0.1", "--port", str(port)]
        command += ["--workers", "1", "--artifacts-destination", str(folder / "files")]
        command += ["--backend-store-uri", backend or f"sqlite:///{folder}/server.db"]
        self._log = folder / "server.log"
        # Its job runner serves chats only, and takes as long to start as the server.
        environment = {**os.environ, "MLFLOW_SERVER_ENABLE_JOB_EXECUTION": "false"}
        with self._log.open("w") as log:
            self._process = subprocess.Popen(
                command, stdout=log, stderr=log, cwd=folder, env=environment, start_new_session=True
            )
        self._wait()

    def kill(self, number=signal.SIGKILL):
        """Ends it and all that it started."""
        with contextlib.suppress(ProcessLookupError):
            os.killpg(self._process.pid, number)
        self._process.wait(timeout=60)

    def _wait(self):
        import requests

        # It ends by the process, not by a short deadline: on a busy machine it takes a minute.
        for _ in range(1200):
            assert self._process.poll() is None, self._log.read_text()
            with contextlib.suppress(requests.RequestException):
                if requests.get(f"{self.address}/health", timeout=2).ok:
                    return
            time.sleep(0.25)
        raise AssertionError(self._log.read_text())


@pytest.fixture
def server(tmp_path):
    """A server of the test's own."""
    made = Server(tmp_path)
    yield made
    made.kill()
