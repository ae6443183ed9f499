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

ADMIN, ADMIN_PASSWORD = "admin", "the-adm1n-passw0rd"


class Server:
    """An `mlflow server` that answers.

    Args:
        folder: Where its database, files and log are.
        backend: Its database; by default SQLite in the folder.
        has_users: Whether it asks for a user and a password.
    """

    def __init__(self, folder, backend="", *, has_users=False):
        self.port = free_port()
        self.address = f"http://127.0.0.1:{self.port}"
        self._command = [sys.executable, "-m", "mlflow", "server", "--host", "127.0.0.1", "--port", str(self.port)]
        self._command += ["--workers", "1", "--artifacts-destination", str(folder / "files")]
        self._folder, self._log, self._process = folder, folder / "server.log", None
        # Its job runner serves chats only, and takes as long to start as the server.
        self._environment = {**os.environ, "MLFLOW_SERVER_ENABLE_JOB_EXECUTION": "false"}
        self._environment["MLFLOW_BACKEND_STORE_URI"] = backend or f"sqlite:///{folder}/server.db"
        if has_users:
            self._command += ["--app-name", "basic-auth"]
            self._environment["MLFLOW_AUTH_CONFIG_PATH"] = str(self._users())
            self._environment["MLFLOW_FLASK_SERVER_SECRET_KEY"] = "nobody-knows"  # noqa: S105 - nobody's
        self.start()

    def start(self):
        """Starts it, unless it runs."""
        if self._process is not None and self._process.poll() is None:
            return
        with self._log.open("w") as log:
            self._process = subprocess.Popen(
                self._command, stdout=log, stderr=log, cwd=self._folder, env=self._environment, start_new_session=True
            )
        wait_for_answer(f"{self.address}/health", self._process, self._log)

    def kill(self, number=signal.SIGKILL):
        """Ends it and all that it started."""
        with contextlib.suppress(ProcessLookupError):
            os.killpg(self._process.pid, number)
        self._process.wait(timeout=60)

    @contextlib.contextmanager
    def stopped(self):
        """Stops it, as an overloaded machine would: connections are accepted, and nothing is answered."""
        os.killpg(self._process.pid, signal.SIGSTOP)
        try:
            yield
        finally:
            os.killpg(self._process.pid, signal.SIGCONT)

    def _users(self):
        users = self._folder / "basic_auth.ini"
        users.write_text(
            "[mlflow]\ndefault_permission = EDIT\n"
            # It would hash the password, a tenth of a second by design, for each of the hundreds of requests of a run.
            "auth_cache_ttl_seconds = 3600\n"
            f"database_uri = sqlite:///{self._folder}/users.db\n"
            f"admin_username = {ADMIN}\nadmin_password = {ADMIN_PASSWORD}\n"
            "authorization_function = mlflow.server.auth:authenticate_request_basic_auth\n"
        )
        return users


@pytest.fixture
def server(tmp_path, monkeypatch):
    """A server of the test's own."""
    monkeypatch.setattr(reaching, "REACH_TIMEOUT_S", LONGEST_S)  # a busy server is a server
    made = Server(tmp_path)
    yield made
    made.kill()
