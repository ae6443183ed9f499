"""Runs whose process died without a word: the store calls them RUNNING until somebody says otherwise."""

from __future__ import annotations

from typing import Any

from regplug.errors import TrackingError
from regplug.tracking import reading
from regplug.tracking.liveness import HEARTBEAT_TAG, PROCESS_TAG, is_dead, machine
from regplug.tracking.patience import AT_THE_ENDS, bounded
from regplug.tracking.run import ERROR_TAG
from regplug.tracking.trouble import tracking_trouble

_WHY = "The process that wrote this run ended without a word: it was killed, or the machine went down."


def mark_dead_runs(client: Any) -> list[str]:
    """Ends runs as KILLED, at their last sign of life, that nobody on this machine writes any more; returns their ids.

    A store that does not let us is left as it is: who only reads may have no right to write.

    Args:
        client: MLflow's client.
    """
    marked: list[str] = []
    try:
        with tracking_trouble("Runs whose process is gone could not be marked"), bounded(AT_THE_ENDS):
            wanted = f"attributes.status = 'RUNNING' AND tags.`{PROCESS_TAG}` LIKE '{machine()}:%'"
            for run in reading.search(client, reading.list_experiments(client), wanted):
                if is_dead(run.run_id, run.status, run.tags):
                    client.set_tag(run.run_id, ERROR_TAG, _WHY)
                    last_s = max(float(run.tags[HEARTBEAT_TAG]), run.started.timestamp())
                    client.set_terminated(run.run_id, "KILLED", int(last_s * 1000))
                    marked.append(run.run_id)
    except TrackingError:
        pass
    return marked
