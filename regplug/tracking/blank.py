"""Caches an empty store, because MLflow creates one with some sixty migrations, which takes a second.

The cached store is in the user's cache folder (`XDG_CACHE_HOME`, else `~/.cache`) under regplug/, one for each version
of MLflow. MLflow itself wrote it; without it, creating a store only takes longer.
"""

from __future__ import annotations

import contextlib
import os
import shutil
import sqlite3
import tempfile
from importlib.metadata import version
from pathlib import Path

from regplug.tracking import tables
from regplug.tracking.location import Location


def take_blank(draft: Path, location: Location) -> bool:
    """Copies the cached empty store to a file; returns whether there was a valid one.

    Args:
        draft: The file, which does not exist yet.
        location: The future store.
    """
    kept = _kept()
    if kept is None or not tables.are_known() or not kept.is_file():
        return False
    try:
        shutil.copyfile(kept, draft)
        if tables.settle(draft, location.artifacts):
            return True
    except (OSError, sqlite3.Error):
        pass
    draft.unlink(missing_ok=True)
    return False


def keep_blank(fresh: Path) -> None:
    """Caches a new store that is still empty; does nothing if that is not possible."""
    kept = _kept()
    if kept is None:
        return
    with contextlib.suppress(OSError):
        kept.parent.mkdir(parents=True, exist_ok=True)
        handle, name = tempfile.mkstemp(dir=kept.parent, prefix=f"{kept.name}.")
        os.close(handle)
        try:
            shutil.copyfile(fresh, name)
            Path(name).replace(kept)
        finally:
            Path(name).unlink(missing_ok=True)


def _kept() -> Path | None:
    base = os.environ.get("XDG_CACHE_HOME")
    try:
        folder = Path(base) if base else Path.home() / ".cache"
    except RuntimeError:  # a user without a home folder
        return None
    return folder / "regplug" / f"mlflow-{version('mlflow')}-empty.db"
