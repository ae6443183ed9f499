"""Deletes tracked runs with their bundles and checkpoints, and a study with its runs."""

from __future__ import annotations

import shutil
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from regplug.bundles.layout import is_bundle, read_manifest
from regplug.errors import RegplugError, RequestError
from regplug.runs.interrupted import checkpoint_file
from regplug.tracking import RunInfo, Store
from regplug.tracking.kinds import BUNDLE_TAGS, CHECKPOINT_TAG, FINAL_TAG, STUDY_TAG, is_alive


@dataclass(frozen=True, kw_only=True)
class Removal:
    """What is deleted.

    Args:
        runs: The runs, each study before its own.
        bundles: The folders of their bundles.
        checkpoints: Their checkpoints.
    """

    runs: tuple[RunInfo, ...]
    bundles: tuple[Path, ...]
    checkpoints: tuple[Path, ...]


def removal_of(store: Store, names: Sequence[str]) -> Removal:
    """Returns what the deletion of runs would delete.

    Args:
        store: The store.
        names: The ids of runs and studies, the beginnings of their ids, or their names.

    Raises:
        RequestError: There is no such run, or one is still being written.
    """
    runs = {run.run_id: run for name in names for run in _with_children(store, store.find_run(name))}
    for run in runs.values():
        _require_ended(store, run)
    return Removal(
        runs=tuple(runs.values()),
        bundles=tuple(dict.fromkeys(path for run in runs.values() for path in _bundles(run))),
        checkpoints=tuple(path for run in runs.values() for path in _checkpoints(store, run)),
    )


def remove(store: Store, removal: Removal) -> None:
    """Deletes files and runs, each study after its own runs, so that an interrupted deletion can be repeated."""
    for folder in removal.bundles:
        shutil.rmtree(folder)
    for file in removal.checkpoints:
        file.unlink(missing_ok=True)
    for run in reversed(removal.runs):
        store.delete_run(run.run_id)


def _with_children(store: Store, run: RunInfo) -> list[RunInfo]:
    if STUDY_TAG not in run.tags:
        return [run]
    children = store.runs(run.experiment, limit=None, parent=run.run_id)
    return [run, *children, *store.runs(run.experiment, limit=None, tags={FINAL_TAG: run.run_id})]


def _require_ended(store: Store, run: RunInfo) -> None:
    parent = store.find_run(run.parent_id) if run.parent_id is not None else run
    for each in {run.run_id: run, parent.run_id: parent}.values():
        if is_alive(each):
            what = "study" if STUDY_TAG in each.tags else "run"
            raise RequestError(
                f"The {what} {each.name} ({each.run_id[:8]}) is still running; nothing was deleted.",
                hint="Wait until it ends, or end its process.",
            )


def _bundles(run: RunInfo) -> list[Path]:
    """Returns the bundles of a run that still belong to it."""
    found = [Path(run.tags[tag]) for tag in BUNDLE_TAGS if tag in run.tags]
    return [path for path in found if is_bundle(path) and _owner(path) == run.run_id]


def _owner(bundle: Path) -> str | None:
    try:
        owner: str | None = read_manifest(bundle).get("run_id")
    except RegplugError:
        return None
    return owner


def _checkpoints(store: Store, run: RunInfo) -> list[Path]:
    file = Path(run.tags.get(CHECKPOINT_TAG, checkpoint_file(store, run.run_id)))
    return [path for path in (file, *file.parent.glob(f"{file.name}.*.part")) if path.is_file()]
