"""Waiting for other processes.

On a busy machine everything takes its time. A wait ends when what is waited for has happened or can no longer happen;
`LONGEST_S` is there only so that a test that hangs ends some day.
"""

from __future__ import annotations

import contextlib
import os
import signal
import socket
import subprocess
import time
import urllib.request
from collections.abc import Callable
from pathlib import Path

import pytest

LONGEST_S = 600.0
"""Far longer than anything took on a machine with ten times as much to do as it has cores."""


def wait_until(is_so: Callable[[], object], process: subprocess.Popen | None = None, log: Path | None = None) -> None:
    """Waits until something is so.

    Args:
        is_so: Asked again and again.
        process: What makes it so; the test fails as soon as this process has ended.
        log: Its output, which the failure shows.
    """
    until = time.monotonic() + LONGEST_S
    while not is_so():
        has_ended = process is not None and process.poll() is not None
        if has_ended or time.monotonic() > until:
            words = log.read_text(errors="replace") if log else ""
            pytest.fail(f"the process ended with {process.returncode}\n{words}" if has_ended else f"too long\n{words}")
        time.sleep(0.1)


def wait_for_answer(url: str, process: subprocess.Popen, log: Path) -> None:
    """Waits until a server that was started answers an address with success."""
    wait_until(lambda: _answers(url), process, log)


def _answers(url: str) -> bool:
    with contextlib.suppress(OSError), urllib.request.urlopen(url, timeout=30):  # noqa: S310  # our own address
        return True
    return False


def free_port() -> int:
    """Returns a port that nobody listens on."""
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return int(probe.getsockname()[1])


def end_group(process: subprocess.Popen) -> None:
    """Ends a process that has a session of its own, with all that it started."""
    for number in (signal.SIGTERM, signal.SIGKILL):
        with contextlib.suppress(ProcessLookupError):
            os.killpg(process.pid, number)
        with contextlib.suppress(subprocess.TimeoutExpired):
            process.wait(60)
            return
