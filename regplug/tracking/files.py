"""A run's files on this machine: one that finds no room is not left as a half."""

from __future__ import annotations

import shutil
from collections.abc import Callable
from pathlib import Path
from urllib.parse import unquote, urlparse


def all_or_nothing(artifact_uri: str, target: str, send: Callable[[], object]) -> Callable[[], None]:
    """Returns a function that copies a file or folder, and removes what it has copied where it cannot go on.

    Args:
        artifact_uri: Where the run's files are.
        target: Path of the copy below that place.
        send: Copies it.
    """

    def whole() -> None:
        place = _local(artifact_uri)
        was_there = place is None or (place / target).exists()
        try:
            send()
        except OSError:
            if place is not None and not was_there:
                _remove(place / target)
            raise

    return whole


def _local(artifact_uri: str) -> Path | None:
    parts = urlparse(artifact_uri)
    return Path(unquote(parts.path)) if parts.scheme == "file" else None


def _remove(path: Path) -> None:
    if path.is_dir():
        shutil.rmtree(path, ignore_errors=True)
    else:
        path.unlink(missing_ok=True)
