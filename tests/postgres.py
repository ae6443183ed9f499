"""A real PostgreSQL for tests, on a port of its own, with a password."""

from __future__ import annotations

import contextlib
import importlib.util
import os
import shutil
import signal
import socket
import subprocess
import tempfile
import time
from pathlib import Path

import pytest

USER, PASSWORD = "regplug", "s3cr3t-p4ssw0rd"


class Postgres:
    """A database cluster.

    Args:
        programs: Folder of `initdb` and `postgres`.
        folder: Where the data are.
    """

    def __init__(self, programs, folder):
        self._programs, self._folder, self._process = programs, folder, None
        # It refuses to be run by root.
        self._user = "postgres" if os.geteuid() == 0 else None
        with socket.socket() as free:
            free.bind(("127.0.0.1", 0))
            self.port = free.getsockname()[1]
        (folder / "password").write_text(PASSWORD)
        for path in (folder, folder / "password"):
            if self._user:
                shutil.chown(path, self._user)
        command = [programs / "initdb", "-D", folder / "data", "-U", USER, "--auth=scram-sha-256", "--no-sync"]
        command += [f"--pwfile={folder / 'password'}", "--encoding=UTF8", "--locale=C"]
        subprocess.run(command, check=True, capture_output=True, user=self._user, cwd=folder)

    @property
    def uri(self):
        """What a user gives as tracking URI; with the password in it."""
        return f"postgresql://{USER}:{PASSWORD}@127.0.0.1:{self.port}/postgres"

    def start(self):
        """Starts it, and waits until it takes connections."""
        import psycopg

        command = [self._programs / "postgres", "-D", self._folder / "data", "-p", str(self.port), "-c", "fsync=off"]
        command += ["-c", "listen_addresses=127.0.0.1", "-c", f"unix_socket_directories={self._folder}"]
        with (self._folder / "log").open("a") as log:
            self._process = subprocess.Popen(
                command, stdout=log, stderr=log, user=self._user, cwd=self._folder, start_new_session=True
            )
        while True:
            assert self._process.poll() is None, (self._folder / "log").read_text()
            try:
                psycopg.connect(self.uri).close()
            except psycopg.OperationalError:
                time.sleep(0.1)
            else:
                return

    @contextlib.contextmanager
    def stopped(self):
        """Stops it with its connections: it takes new ones, and answers nothing."""
        pids = [self._process.pid, *_children(self._process.pid)]
        for pid in pids:
            os.kill(pid, signal.SIGSTOP)
        try:
            yield
        finally:
            for pid in pids:
                os.kill(pid, signal.SIGCONT)

    def kill(self):
        """Ends it at once, with its connections."""
        if self._process is not None:
            self._process.send_signal(3)  # SIGQUIT is its immediate shutdown, which takes its children with it
            self._process.wait(timeout=60)


def _children(pid):
    """Its processes for connections and in the background, which have sessions of their own."""
    found = Path(f"/proc/{pid}/task/{pid}/children").read_text()
    return [int(child) for child in found.split()]


def _programs():
    found = shutil.which("initdb")
    folders = [Path(found).resolve().parent] if found else sorted(Path("/usr/lib/postgresql").glob("*/bin"))
    return next((folder for folder in reversed(folders) if (folder / "postgres").exists()), None)


@pytest.fixture(scope="module")
def postgres():
    """A PostgreSQL that runs."""
    programs = _programs()
    if programs is None:
        pytest.skip("PostgreSQL is not installed: apt-get install postgresql")
    if importlib.util.find_spec("psycopg") is None:
        pytest.skip("PostgreSQL's driver is not installed: pip install 'psycopg[binary]'")
    # Not pytest's own folder: PostgreSQL's user may not look into that.
    folder = Path(tempfile.mkdtemp(prefix="regplug-postgres-"))
    try:
        made = Postgres(programs, folder)
        made.start()
        yield made
        made.kill()
    finally:
        shutil.rmtree(folder, ignore_errors=True)
