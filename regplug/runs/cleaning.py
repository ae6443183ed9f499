"""Finds and removes what killed processes left: dead runs, orphaned checkpoints, and parts of bundles."""

from __future__ import annotations

import re
from collections.abc import Collection
from dataclasses import dataclass
from pathlib import Path

from regplug.bundles.publish import abandoned, tidy
from regplug.runs.interrupted import checkpoint_file
from regplug.tracking import RunInfo, Store
from regplug.tracking.liveness import is_dead
from regplug.tracking.selecting import Selection

_CHECKPOINT = re.compile(r"([0-9a-f]{32})\.pt(\.\d+\.part)?")


@dataclass(frozen=True, kw_only=True)
class Leftovers:
    """What killed processes left.

    Args:
        dead: Runs that are RUNNING in the store although their process on this machine is gone.
        elsewhere: Runs of other machines without a heartbeat for a minute; they are left as they are.
        checkpoints: Checkpoints that no run will be resumed from.
        unknown: Checkpoints of runs that this store does not know. They may belong to another store and are left.
        parts: Folders of bundles that were not finished.
    """

    dead: tuple[RunInfo, ...]
    elsewhere: tuple[RunInfo, ...]
    checkpoints: tuple[Path, ...]
    unknown: tuple[Path, ...]
    parts: tuple[Path, ...]


def find_leftovers(store: Store, bundles: Path) -> Leftovers:
    """Finds what killed processes left; changes nothing.

    Args:
        store: The store, opened without marking dead runs.
        bundles: The folder of bundles.
    """
    stale = [run for run in store.select(Selection(statuses=("stale",))) if run.is_stale]
    dead = [run for run in stale if is_dead(run.run_id, run.status, run.tags)]
    orphaned, unknown = _checkpoints(store, {run.run_id for run in dead})
    return Leftovers(
        dead=tuple(dead),
        elsewhere=tuple(run for run in stale if run not in dead),
        checkpoints=tuple(orphaned),
        unknown=tuple(unknown),
        parts=tuple(abandoned(bundles)),
    )


def clean_up(store: Store, found: Leftovers, bundles: Path) -> None:
    """Marks dead runs as KILLED, and removes orphaned checkpoints and parts of bundles.

    Args:
        store: The store.
        found: What was found.
        bundles: The folder of bundles.
    """
    store.mark_dead_runs()
    for file in found.checkpoints:
        file.unlink(missing_ok=True)
    if found.parts:
        tidy(bundles)


def _checkpoints(store: Store, dead: Collection[str]) -> tuple[list[Path], list[Path]]:
    """Returns the checkpoints that nothing needs, and those of unknown runs that may be another store's."""
    folder = checkpoint_file(store, "").parent
    orphaned: list[Path] = []
    unknown: list[Path] = []
    for path in sorted(folder.iterdir()) if folder.is_dir() else []:
        found = _CHECKPOINT.fullmatch(path.name)
        status = store.status_of(found[1]) if found is not None else "another file"
        is_draft = found is not None and found[2] is not None
        if status is None:
            (orphaned if _is_only_store(store) else unknown).append(path)
        elif status in ("FINISHED", "DELETED") or (is_draft and _is_over(status, path, dead)):
            orphaned.append(path)
    return orphaned, unknown


def _is_over(status: str, draft: Path, dead: Collection[str]) -> bool:
    """Returns whether no process can be writing a draft of a checkpoint any more."""
    return status != "RUNNING" or draft.name.partition(".")[0] in dead


def _is_only_store(store: Store) -> bool:
    """Returns whether no other store can have its checkpoints in the same folder."""
    database = store.location.database
    return database is not None and list(database.parent.glob("*.db")) == [database]
