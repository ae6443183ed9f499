"""An empty store, kept for the next one: MLflow makes each by some sixty migrations, which takes a second.

The copy lies in the user's cache folder (`XDG_CACHE_HOME`, else `~/.cache`) under regplug/, one for each version of
MLflow, and is MLflow's own work; without it a store is only slower to make.
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
    """Copies the kept empty store to a file, for a store of its own; returns whether there was a sound one.

    Args:
        draft: The file, which is not there yet.
        location: The store that it is to become.
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
    """Keeps a new store, which nobody has written to, for the next; where there is no room for it, it does not."""
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
    except RuntimeError:  # a user without a home
        return None
    return folder / "regplug" / f"mlflow-{version('mlflow')}-empty.db"
