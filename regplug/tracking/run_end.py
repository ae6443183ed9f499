"""Writes how a run ended."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from regplug.tracking import limits
from regplug.tracking.reading import RunInfo
from regplug.tracking.secrets import masked

ERROR_TAG = "regplug.error"


def write_end(client: Any, run_id: str, status: str, why: str, ended_ms: int | None = None) -> None:
    """Ends a run in the store.

    Args:
        client: MLflow's client.
        run_id: The run.
        status: FINISHED, FAILED or KILLED.
        why: The error; empty for none.
        ended_ms: When it ended, in milliseconds since the epoch; by default now.
    """
    if why:
        client.set_tag(run_id, ERROR_TAG, limits.shorten(masked(why), limits.MAX_TAG_LENGTH))
    client.set_terminated(run_id, status, ended_ms)


def clear_error(client: Any, run: RunInfo, tags: Mapping[str, str]) -> None:
    """Removes the error of a run that has none among these tags: it was marked as killed before it was delivered."""
    if ERROR_TAG in run.tags and ERROR_TAG not in tags:
        client.delete_tag(run.run_id, ERROR_TAG)
