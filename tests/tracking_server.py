"""A real MLflow server for tests, on a database of its own."""

from __future__ import annotations

import contextlib
import os
import signal
import subprocess
import sys

import pytest
from waiting import LONGEST_S, free_port, wait_for_answer

from regplug.tracking import reaching


class Server:
    """An `mlflow server` that answers.

    Args:
        folder: Where its database, files and log are.
        backend: Its database; by default SQLite in the folder.
    """

    def __init__(self, folder, backend=""):
        port = free_port()
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
        wait_for_answer(f"{self.address}/health", self._process, self._log)

    def kill(self, number=signal.SIGKILL):
        """Ends it and all that it started."""
        with contextlib.suppress(ProcessLookupError):
            os.killpg(self._process.pid, number)
        self._process.wait(timeout=60)


@pytest.fixture
def server(tmp_path, monkeypatch):
    """A server of the test's own."""
    monkeypatch.setattr(reaching, "REACH_TIMEOUT_S", LONGEST_S)  # a busy server is a server
    made = Server(tmp_path)
    yield made
    made.kill()
