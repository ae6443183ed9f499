"""What interrupted runs and studies left: whether they can be resumed, and from where."""

from __future__ import annotations

from collections import Counter
from datetime import UTC, datetime
from pathlib import Path

from regplug.tracking import RunInfo, Store
from regplug.tracking.kinds import CHECKPOINT_TAG, CONFIG_FILE, STUDY_FILE, STUDY_TAG, is_interrupted


def is_resumable(store: Store, info: RunInfo) -> bool:
    """Returns whether `regplug runs resume` can continue a run or study: it ended early and its request is stored."""
    if not is_interrupted(info):
        return False
    if CHECKPOINT_TAG in info.tags:  # set after the request is stored
        return True
    file = STUDY_FILE if STUDY_TAG in info.tags else CONFIG_FILE
    return file in store.artifact_names(info.run_id)


def checkpoint_file(store: Store, run_id: str) -> Path:
    """Returns the file with the checkpoint of a run or study, which need not exist."""
    return store.location.folder / "checkpoints" / f"{run_id}.pt"


def last_checkpoint(store: Store, info: RunInfo) -> datetime | None:
    """Returns when the checkpoint of a run or study was written, or `None` if it has none on this machine."""
    file = Path(info.tags.get(CHECKPOINT_TAG, checkpoint_file(store, info.run_id)))
    return datetime.fromtimestamp(file.stat().st_mtime, tz=UTC) if file.is_file() else None


def counts_of_children(store: Store, study: RunInfo) -> dict[str, int]:
    """Returns how many runs of a study ended with each status."""
    children = store.runs(study.experiment, limit=None, parent=study.run_id)
    return dict(Counter(child.status for child in children))
