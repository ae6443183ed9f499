"""Writes how a run ended, and reports what the store is missing then."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from regplug.errors import TrackingError, TrackingLostError
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
    """Removes the error of a run whose own tags have none: it was marked as killed before it was delivered."""
    if ERROR_TAG in run.tags and ERROR_TAG not in tags:
        client.delete_tag(run.run_id, ERROR_TAG)


def lost_records(
    store: str,
    name: str,
    status: str,
    missing: Sequence[str],
    trouble: TrackingError | None,
    place: Path | None,
) -> TrackingLostError:
    """Returns the error of a run that ended while its store was lost.

    Args:
        store: The store's name in messages.
        name: The run's name.
        status: Its status in the store.
        missing: Descriptions of the records that the store does not have.
        trouble: Why the store could not be written, if that is known.
        place: Where the missing records are kept; `None` if they are not.
    """
    lacks = f"It does not have: {', '.join(missing)}. " if missing else ""
    there = f"There the run is {status}."
    if status == "RUNNING":
        next_one = "" if place else "; the next command that opens the store marks it KILLED"
        there = f"There the run is still RUNNING{next_one}."
    why = trouble.message if trouble is not None else "It could not be written"
    hint = "" if trouble is None else trouble.hint
    if place is not None:
        there += f" What is missing is kept in {place}."
        hint = f"`regplug runs sync` in this folder delivers it as soon as the store can be written. {hint}".strip()
    return TrackingLostError(
        f"The tracking store {store} is missing records of {name}. {why}. {lacks}{there}", hint=hint
    )
