"""Reads text files of an untrusted bundle: no links, bounded sizes and depths. Standard library only."""

from __future__ import annotations

import json
import math
import stat
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from regplug.errors import BundleError, VerificationError

MOST_BYTES = 2**24
"""Size of the largest text file that is read."""

_MOST_LEVELS = 50
_TOO_DEEP = f"it has more than {_MOST_LEVELS} levels"


def why_not_plain(path: Path) -> str:
    """Returns why a path is not a regular file, or an empty string."""
    try:
        mode = path.lstat().st_mode
    except (OSError, ValueError):
        return "is missing"
    if stat.S_ISLNK(mode):
        return "is a link; a bundle must contain its files"
    return "" if stat.S_ISREG(mode) else "is not a regular file"


def require_plain(folder: Path, name: str) -> None:
    """Checks that a file is a regular file in the folder itself.

    Raises:
        VerificationError: It is missing, a link or not a regular file.
    """
    reason = why_not_plain(folder / name)
    if reason:
        raise VerificationError(f"{folder}: {name} {reason}.", hint=COPY_AGAIN)


def read_small(folder: Path, name: str) -> bytes:
    """Reads a text file of a bundle.

    Raises:
        BundleError: It is missing or cannot be read: the folder is not a bundle.
        VerificationError: It is a link, not a regular file, or far too large.
    """
    path = folder / name
    if path.is_symlink() or path.exists():
        require_plain(folder, name)
    try:
        size = path.stat().st_size
        if size > MOST_BYTES:
            raise VerificationError(
                f"{folder}: {name} has {size / 2**20:,.0f} MiB; at most {MOST_BYTES / 2**20:.0f} are allowed.",
                hint=COPY_AGAIN,
            )
        return path.read_bytes()
    except OSError as error:
        raise BundleError(f"{folder} is not a bundle: its {name} cannot be read ({error}).", hint=WHAT) from error


def read_json(folder: Path, name: str) -> Any:
    """Reads a JSON file of a bundle.

    Raises:
        BundleError: It cannot be read: the folder is not a bundle.
        VerificationError: It is not JSON, or JSON that regplug never writes: duplicate keys, NaN, invalid text, or many
            levels.
    """
    try:
        return parse_json(read_small(folder, name))
    except ValueError as error:
        message = f"{folder}: {name} is not JSON as regplug writes it: {error}."
        raise VerificationError(message, hint=COPY_AGAIN) from None


def parse_json(content: bytes) -> Any:
    """Parses JSON more strictly than Python.

    Raises:
        ValueError: It is not JSON in UTF-8, has duplicate keys, NaN, infinity, lone surrogates, or more than 50 levels.
    """
    if len(content) > MOST_BYTES:
        raise ValueError(f"it has more than {MOST_BYTES / 2**20:.0f} MiB")
    try:
        # json would also guess UTF-16 and UTF-32, and skip a byte order mark; other readers do not.
        document = json.loads(content.decode(), object_pairs_hook=_mapping, parse_constant=_refuse, parse_float=_finite)
    except RecursionError:
        raise ValueError(_TOO_DEEP) from None
    _require_shallow(document)
    return document


def _mapping(pairs: list[tuple[str, Any]]) -> dict[str, Any]:
    mapping = dict(pairs)
    if len(mapping) < len(pairs):
        raise ValueError("a mapping has a duplicate key")
    return mapping


def _refuse(constant: str) -> Any:
    raise ValueError(f"{constant} is not a number")


def _finite(text: str) -> float:
    number = float(text)
    if not math.isfinite(number):
        raise ValueError(f"{text[:20]} does not fit into a float")
    return number


def _require_shallow(document: Any) -> None:
    """Checks the depth level by level, because later readers and writers recurse into the document."""
    level = [document]
    for _ in range(_MOST_LEVELS):
        for text in level:
            if isinstance(text, str) and not text.isascii():
                text.encode()
        level = [item for value in level for item in _items(value)]
        if not level:
            return
    raise ValueError(_TOO_DEEP)


def _items(value: Any) -> Iterator[Any]:
    if isinstance(value, dict):
        yield from value
        yield from value.values()
    elif isinstance(value, list):
        yield from value


WHAT = "A bundle is a folder that `regplug run` or `regplug export` wrote."
COPY_AGAIN = "Copy the bundle again from its origin, or export the run again."
