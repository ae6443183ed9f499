"""Marks runs whose process was killed: the store shows them as RUNNING until someone changes it."""

from __future__ import annotations

from typing import Any

from regplug.errors import TrackingError
from regplug.tracking import reading
from regplug.tracking.liveness import HEARTBEAT_TAG, PROCESS_TAG, is_dead, machine
from regplug.tracking.patience import AT_THE_ENDS, bounded
from regplug.tracking.run_end import ERROR_TAG
from regplug.tracking.trouble import tracking_trouble

_WHY = "The process that wrote this run ended unexpectedly: it was killed, or the machine went down."


def mark_dead_runs(client: Any) -> list[str]:
    """Marks runs of this machine whose process is gone as KILLED, at their last heartbeat; returns their ids.

    Does nothing if the store cannot be written: a reader may have no permission to write.

    Args:
        client: MLflow's client.
    """
    marked: list[str] = []
    try:
        with tracking_trouble("Runs whose process is gone could not be marked"), bounded(AT_THE_ENDS):
            wanted = f"attributes.status = 'RUNNING' AND tags.`{PROCESS_TAG}` LIKE '{machine()}:%'"
            for run in reading.search(client, reading.list_experiments(client), wanted):
                # Its process may have ended it, and itself, since the runs were listed.
                if is_dead(run.run_id, run.status, run.tags) and _is_running(client, run.run_id):
                    client.set_tag(run.run_id, ERROR_TAG, _WHY)
                    last_s = max(float(run.tags[HEARTBEAT_TAG]), run.started.timestamp())
                    client.set_terminated(run.run_id, "KILLED", int(last_s * 1000))
                    marked.append(run.run_id)
    except TrackingError:
        pass
    return marked


def _is_running(client: Any, run_id: str) -> bool:
    return bool(client.get_run(run_id).info.status == "RUNNING")
