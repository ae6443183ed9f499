"""The folder of a study's results: whether it can be written, and how its files get there."""

from __future__ import annotations

import json
import shutil
import tempfile
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from regplug.errors import RequestError
from regplug.lab.page import FINDINGS_FILE, REPORT_FILE, report


def require_writable(folder: Path) -> None:
    """Checks that a folder can be written, or created, by an attempt that leaves nothing behind.

    Args:
        folder: The folder; it may not exist yet.

    Raises:
        RequestError: It cannot.
    """
    try:
        existing = next(each for each in (folder, *folder.parents) if each.exists())
        with tempfile.TemporaryDirectory(dir=existing, prefix=".regplug-") as trial:
            (Path(trial) / folder.relative_to(existing)).mkdir(parents=True, exist_ok=True)
    except OSError as error:
        raise _cannot_write(folder, error) from error


def write_documents(folder: Path, document: Mapping[str, Any]) -> None:
    """Writes the report of a study, and its findings as JSON.

    Args:
        folder: Where to write them; it exists.
        document: `LabResult.document()`.
    """
    told = {name: value for name, value in document.items() if name not in ("runs", "summary")}
    (folder / FINDINGS_FILE).write_text(json.dumps(told, indent=2, default=str) + "\n", encoding="utf-8")
    (folder / REPORT_FILE).write_text(report(document), encoding="utf-8")


def deliver(made: Path, folder: Path) -> None:
    """Copies the files of a study into the folder of its results; other files there stay.

    Args:
        made: A folder with the files.
        folder: The folder of the results, created if it does not exist.

    Raises:
        RequestError: It cannot be written.
    """
    try:
        shutil.copytree(made, folder, dirs_exist_ok=True)
    except OSError as error:
        raise _cannot_write(folder, error) from error


def _cannot_write(folder: Path, error: OSError) -> RequestError:
    told = error.strerror or str(error)
    return RequestError(
        f"The results cannot be written into {folder}: {told}.",
        hint="Choose a folder that can be written with --out.",
    )
