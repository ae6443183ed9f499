"""Which dataset reads a file or folder that a user names by its path."""

from __future__ import annotations

import os
from collections.abc import Iterable
from fnmatch import fnmatch
from pathlib import Path
from typing import cast

from regplug.api import Dataset
from regplug.config.params import describe_params
from regplug.errors import DataError, did_you_mean
from regplug.registry.records import Registered

_ANY_FOLDER = "*/"


def is_folder(text: str) -> bool:
    """Returns whether a text is the path of a folder."""
    return os.path.isdir(Path(text).expanduser())  # noqa: PTH112 - False for a name that is too long, where Path raises


def find_reader(text: str, datasets: Iterable[Registered]) -> tuple[Registered, str]:
    """Returns the dataset that reads a path, and the parameter that takes it.

    Args:
        text: The path as it was written.
        datasets: What is installed.

    Raises:
        DataError: There is no such file or folder, or no dataset reads it.
    """
    path, known = Path(text).expanduser(), list(datasets)
    if not os.path.exists(path):  # noqa: PTH110 - False for a name that is too long, where Path raises
        raise DataError(f"No file {path}.", hint=_near(text, path))
    fits = [(len(pattern), one) for one in known for pattern in _reads(one) if _matches(path, pattern)]
    if not fits:
        patterns = sorted({pattern for one in known for pattern in _reads(one)})
        raise DataError(
            f"No dataset reads {'the folder' if path.is_dir() else 'the file'} {path}.",
            hint=f"These paths can be read: {', '.join(patterns) or 'no paths'}; your own code is ./file.py:Name.",
        )
    reader = max(fits, key=lambda fit: fit[0])[1]
    infos = describe_params(reader.component.params)
    return reader, next(info.name for info in infos if info.is_file)


def _reads(registered: Registered) -> tuple[str, ...]:
    return cast(Dataset, registered.component).reads


def _matches(path: Path, pattern: str) -> bool:
    if not path.is_dir():
        return "/" not in pattern and fnmatch(path.name.lower(), pattern)
    return pattern == _ANY_FOLDER or (pattern.startswith(_ANY_FOLDER) and any(path.glob(pattern[len(_ANY_FOLDER) :])))


def _near(text: str, path: Path) -> str:
    if not path.parent.is_dir():
        return f"There is no folder {path.parent}. Relative paths start from the current folder."
    names = [one.name for one in path.parent.iterdir() if not one.name.startswith(".")]
    return f"{did_you_mean(path.name, names)} For your own code write {text}:Name."
