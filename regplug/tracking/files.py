"""Copies files of a run on this machine without leaving partial copies."""

from __future__ import annotations

import shutil
from collections.abc import Callable
from pathlib import Path
from urllib.parse import unquote, urlparse


def all_or_nothing(artifact_uri: str, target: str, send: Callable[[], object]) -> Callable[[], None]:
    """Returns a function that copies a file or folder, and removes the partial copy if it fails.

    Args:
        artifact_uri: The folder of the run's files.
        target: Path of the copy relative to that folder.
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
