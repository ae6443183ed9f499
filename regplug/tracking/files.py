"""Writes the files of runs, and leaves no partial copies on this machine."""

from __future__ import annotations

import shutil
import tempfile
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any
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


def write_texts(artifact_uri: str, files: Mapping[str, str]) -> None:
    """Writes text files of a run that need not exist yet.

    Args:
        artifact_uri: The folder of the run's files.
        files: Path -> text.
    """
    place = _local(artifact_uri)
    if place is not None:
        _write(place, files)
    elif files:
        from mlflow.store.artifact.artifact_repository_registry import get_artifact_repository

        with tempfile.TemporaryDirectory(prefix="regplug-") as folder:
            _write(Path(folder), files)
            repository: Any = get_artifact_repository(artifact_uri)
            repository.log_artifacts(folder)


def _write(place: Path, files: Mapping[str, str]) -> None:
    for path, text in files.items():
        file = place / path
        file.parent.mkdir(parents=True, exist_ok=True)
        file.write_text(text, encoding="utf-8")


def _local(artifact_uri: str) -> Path | None:
    parts = urlparse(artifact_uri)
    return Path(unquote(parts.path)) if parts.scheme == "file" else None


def _remove(path: Path) -> None:
    if path.is_dir():
        shutil.rmtree(path, ignore_errors=True)
    else:
        path.unlink(missing_ok=True)
