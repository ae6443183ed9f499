"""Inspects zip archives before unpacking them, because a few megabytes can contain gigabytes. numpy only."""

from __future__ import annotations

import zipfile
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import IO, Any

import numpy as np

from regplug.bundles.formats import Array

_HEADER = 2**12
"""Maximum size of an array's header in bytes."""

_ENTRY = 2**10
"""Maximum size of an archive's entry in bytes, without its content."""

_MOST_GROWTH = 2**28
"""Bytes that a model file may unpack to beyond its own size; only its text is compressed."""


@dataclass(frozen=True)
class Extent:
    """Shape and type of an array."""

    shape: tuple[int, ...]
    dtype: np.dtype[Any]

    @property
    def size_bytes(self) -> int:
        """Size of its values in bytes."""
        size = self.dtype.itemsize
        for length in self.shape:
            size *= length
        return size

    def __str__(self) -> str:
        return f"{self.dtype} {self.shape}"


def read_arrays(path: Path, wanted: Mapping[str, Extent]) -> dict[str, Array]:
    """Reads an archive that must contain exactly the expected arrays.

    Args:
        path: `.npz`, not compressed.
        wanted: The expected arrays by name.

    Raises:
        ValueError: It is not such an archive, or has other arrays; then only its directory and headers were read.
    """
    most = most_bytes_of(wanted)
    if path.stat().st_size > most:
        raise ValueError(f"it has {path.stat().st_size:,} bytes, but its arrays need at most {most:,}")
    with _opened(path) as archive:
        _require_entries(archive, wanted)
        for name, extent in wanted.items():
            with archive.open(f"{name}.npy") as entry:
                _require_extent(name, entry, extent)
        arrays = {}
        for name in wanted:
            with archive.open(f"{name}.npy") as entry:
                arrays[name] = np.lib.format.read_array(entry, allow_pickle=False)
    return arrays


def most_bytes_of(wanted: Mapping[str, Extent]) -> int:
    """Returns the maximum size of an archive of these arrays in bytes."""
    return sum(extent.size_bytes + _HEADER + _ENTRY for extent in wanted.values()) + _ENTRY


def _opened(path: Path) -> zipfile.ZipFile:
    try:
        return zipfile.ZipFile(path)
    except (zipfile.BadZipFile, NotImplementedError) as error:
        raise ValueError(f"it is not a zip archive ({error})") from error


def _require_entries(archive: zipfile.ZipFile, wanted: Mapping[str, Extent]) -> None:
    entries = {entry.filename: entry for entry in archive.infolist()}
    names = {f"{name}.npy" for name in wanted}
    if set(entries) != names or len(entries) != len(archive.infolist()):
        parts = (("it lacks", names - set(entries)), ("it also contains", set(entries) - names))
        told = [f"{words} {', '.join(sorted(odd))[:200]}" for words, odd in parts if odd]
        raise ValueError("; ".join(told) or "it contains an array twice")
    for name, extent in wanted.items():
        entry = entries[f"{name}.npy"]
        if entry.compress_type != zipfile.ZIP_STORED or entry.file_size > extent.size_bytes + _HEADER:
            raise ValueError(f"{name} unpacks to {entry.file_size:,} bytes, but {extent} needs {extent.size_bytes:,}")


def extent_in(path: Path, name: str) -> Extent:
    """Returns shape and type of an array in an archive, without unpacking anything else.

    Raises:
        ValueError: It is not such an archive, or has no such array.
    """
    with _opened(path) as archive:
        if f"{name}.npy" not in archive.namelist():
            raise ValueError(f"it has no array {name!r}")
        with archive.open(f"{name}.npy") as entry:
            return _read_header(entry)


def _require_extent(name: str, entry: IO[bytes], wanted: Extent) -> None:
    found = _read_header(entry)
    if found != wanted:
        raise ValueError(f"{name} is {found}, but should be {wanted}")


def _read_header(entry: IO[bytes]) -> Extent:
    version = np.lib.format.read_magic(entry)
    read = {(1, 0): np.lib.format.read_array_header_1_0, (2, 0): np.lib.format.read_array_header_2_0}.get(version)
    if read is None:
        raise ValueError(f"version {version} of the array format is unknown")
    shape, _, dtype = read(entry)
    return Extent(tuple(shape), dtype)


def grows_too_large(path: Path) -> bool:
    """Returns whether a file is a zip archive that unpacks to far more than its own size."""
    try:
        with zipfile.ZipFile(path) as archive:
            unpacked = sum(entry.file_size for entry in archive.infolist())
    except (zipfile.BadZipFile, NotImplementedError, OSError, ValueError):
        return False
    return unpacked > path.stat().st_size + _MOST_GROWTH
