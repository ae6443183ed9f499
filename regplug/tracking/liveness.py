"""Finds out from a run's tags, without MLflow, whether its process is still alive."""

from __future__ import annotations

import os
import platform
import time
from collections.abc import Mapping
from pathlib import Path

HEARTBEAT_TAG = "regplug.heartbeat"
PROCESS_TAG = "regplug.process"

HEARTBEAT_EVERY_S = 10.0
STALE_AFTER_S = 60.0


writing: set[str] = set()
"""Ids of the runs that this process is writing."""


def heartbeat_tags() -> dict[str, str]:
    """Returns the tags of a run that this process is writing: epoch seconds, and machine:pid:start."""
    return {
        HEARTBEAT_TAG: str(int(time.time())),  # rounded down, so that a heartbeat is never in the future
        PROCESS_TAG: f"{machine()}:{os.getpid()}:{_start_of(os.getpid())}",
    }


def machine() -> str:
    """Returns the name of this machine and container, because each container numbers its own processes."""
    try:
        return f"{platform.node()}/{Path('/proc/self/ns/pid').stat().st_ino}"
    except OSError:
        return platform.node()


def is_dead(run_id: str, status: str, tags: Mapping[str, str]) -> bool:
    """Returns whether a run of this machine is RUNNING although its process is gone or no longer writes it.

    >>> is_dead("r", "RUNNING", {"regplug.process": "elsewhere:1:2"})
    False
    """
    host, pid, start = _process(tags)
    if status != "RUNNING" or host != machine() or not pid.isdigit():
        return False
    if int(pid) == os.getpid() and start == _start_of(os.getpid()):
        return run_id not in writing
    return _start_of(int(pid)) != start if _can_see_processes() else not _is_alive(int(pid))


def is_stale(run_id: str, status: str, tags: Mapping[str, str], now_s: float | None = None) -> bool:
    """Returns whether a run is RUNNING although no process writes it any more.

    On the machine that wrote it, the process decides; elsewhere, a heartbeat older than a minute. Runs without a
    heartbeat are not regplug's and never stale.

    >>> is_stale("r", "RUNNING", {"regplug.heartbeat": "100", "regplug.process": "elsewhere:1:"}, now_s=130.0)
    False
    >>> is_stale("r", "RUNNING", {"regplug.heartbeat": "100", "regplug.process": "elsewhere:1:"}, now_s=161.0)
    True
    """
    if status != "RUNNING" or HEARTBEAT_TAG not in tags:
        return False
    if _process(tags)[0] == machine():
        return is_dead(run_id, status, tags)
    age_s = (time.time() if now_s is None else now_s) - float(tags[HEARTBEAT_TAG])
    return age_s > STALE_AFTER_S


def _process(tags: Mapping[str, str]) -> tuple[str, str, str]:
    """Returns machine, process id and process start; empty if the run is not regplug's."""
    rest, _, start = tags.get(PROCESS_TAG, "").rpartition(":")
    host, _, pid = rest.rpartition(":")
    return host, pid, start


def _can_see_processes() -> bool:
    return Path("/proc/self/stat").exists()


def _start_of(pid: int) -> str:
    """Returns the start of a process in clock ticks since boot, which reveals a reused pid; empty if it is gone.

    A zombie counts as gone.
    """
    try:
        fields = Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()
    except OSError:
        return ""
    return "" if fields[0] == "Z" else fields[19]


def _is_alive(pid: int) -> bool:
    try:
        os.kill(pid, 0)
    except ProcessLookupError:
        return False
    except PermissionError:
        return True
    return True
