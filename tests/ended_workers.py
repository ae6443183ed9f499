"""Tells how a process of pytest-xdist ended that did not end by itself: pytest-xdist says only that it is down."""

from __future__ import annotations

import signal
import subprocess
from typing import Any

import pytest


@pytest.hookimpl(optionalhook=True)
def pytest_testnodedown(node: Any, error: object) -> None:
    if not error:
        return
    try:
        code = node.gateway._io.popen.wait(timeout=30)
    except (AttributeError, subprocess.TimeoutExpired) as trouble:
        words = f"has not ended, or cannot be asked: {trouble!r}"
    else:
        words = f"ended by signal {-code}, {signal.Signals(-code).name}" if code < 0 else f"ended with exit code {code}"
    node.config.get_terminal_writer().line(f"\n[{node.gateway.id}] its process {words}")
