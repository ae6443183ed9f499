"""The contract of the bundle folder: which files, which JSON, which checksums. Standard library only."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Iterable, Mapping
from pathlib import Path
from typing import Any

from regplug.errors import BundleError, VerificationError

SCHEMA_VERSION = 1
"""Raised when a reader of the older manifest could misread the newer one."""

MANIFEST = "manifest.json"
VERIFICATION = "verification.json"
SAMPLE_INPUT = "sample_input.npz"
SAMPLE_OUTPUT = "sample_output.npz"
CHECKSUMS = "SHA256SUMS"
MODEL_ONNX = "model.onnx"
"""The file that `predict` runs."""


def canonical_json(document: Mapping[str, Any]) -> str:
    """One text for one document: sorted keys, no NaN.

    Raises:
        TypeError: A value is not JSON.
        ValueError: A number is NaN or infinite.
    """
    return json.dumps(document, sort_keys=True, indent=2, ensure_ascii=False, allow_nan=False)


def sha256_file(path: Path) -> str:
    """The checksum of a file's bytes, as hexadecimal digits."""
    with path.open("rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()


def write_checksums(folder: Path) -> None:
    """Writes `SHA256SUMS` over every other file of the folder, in the format of `sha256sum`."""
    names = sorted(path.name for path in folder.iterdir() if path.name != CHECKSUMS)
    lines = [f"{sha256_file(folder / name)}  {name}\n" for name in names]
    (folder / CHECKSUMS).write_text("".join(lines), encoding="utf-8")


def read_checksums(folder: Path) -> dict[str, str]:
    """Reads `SHA256SUMS`.

    Raises:
        BundleError: There is no such file: the folder is no bundle.
        VerificationError: A line is not a checksum and a plain file name.
    """
    try:
        text = (folder / CHECKSUMS).read_text(encoding="utf-8")
    except (OSError, UnicodeDecodeError) as error:
        raise BundleError(f"{folder} is no bundle: its {CHECKSUMS} cannot be read ({error}).", hint=_WHAT) from error
    sums = dict(_parse_line(folder, line) for line in text.splitlines())
    if not sums:
        raise VerificationError(f"{folder}: {CHECKSUMS} is empty.", hint=_AGAIN)
    return sums


def _parse_line(folder: Path, line: str) -> tuple[str, str]:
    digest, separator, name = line.partition("  ")
    if not separator or len(digest) != 64 or Path(name).name != name:
        raise VerificationError(f"{folder}: {CHECKSUMS} has a line that is no checksum: {line!r}.", hint=_AGAIN)
    return name, digest


def is_bundle(folder: Path) -> bool:
    """Whether a folder says of itself that it is a bundle."""
    return (folder / CHECKSUMS).is_file() and (folder / MANIFEST).is_file()


def require_bundle(folder: Path) -> None:
    """Refuses what is no bundle folder.

    Raises:
        BundleError: The path does not exist, is no folder, or has neither manifest nor checksums.
    """
    if not folder.exists():
        raise BundleError(f"There is no bundle at {folder}.", hint=_WHAT)
    if not folder.is_dir():
        hint = f"Name its folder: {folder.parent}" if is_bundle(folder.parent) else _WHAT
        raise BundleError(f"{folder} is a file, not a bundle.", hint=hint)
    if not (folder / CHECKSUMS).is_file() and not (folder / MANIFEST).is_file():
        raise BundleError(f"{folder} is no bundle: it has neither {MANIFEST} nor {CHECKSUMS}.", hint=_WHAT)


def require_unchanged(folder: Path, names: Iterable[str]) -> None:
    """Refuses files that are missing or whose bytes are not those that were proven.

    Raises:
        BundleError: The folder is no bundle.
        VerificationError: A file is missing, not listed, or changed.
    """
    sums = read_checksums(folder)
    for name in names:
        reason = changed(folder, name, sums)
        if reason:
            raise VerificationError(f"{folder}: {reason}", hint=_AGAIN)


def changed(folder: Path, name: str, sums: Mapping[str, str]) -> str:
    """Why a file is not the one that was proven, or the empty text."""
    if name not in sums:
        return f"{name} is not listed in {CHECKSUMS}."
    if not (folder / name).is_file():
        return f"{name} is missing."
    if sha256_file(folder / name) != sums[name]:
        return f"{name} is not the file that was proven: its sha256 differs from {CHECKSUMS}."
    return ""


def read_manifest(folder: Path) -> dict[str, Any]:
    """Reads a bundle's manifest.

    Raises:
        BundleError: The folder has no manifest.
        VerificationError: The manifest is no JSON object, or of another schema.
    """
    try:
        document = json.loads((folder / MANIFEST).read_bytes())
    except OSError as error:
        raise BundleError(f"{folder} is no bundle: its {MANIFEST} cannot be read ({error}).", hint=_WHAT) from error
    except ValueError as error:
        raise VerificationError(f"{folder}: {MANIFEST} is not JSON ({error}).", hint=_AGAIN) from error
    found = document.get("schema_version") if isinstance(document, dict) else None
    if found != SCHEMA_VERSION:
        raise VerificationError(
            f"{folder}: {MANIFEST} has schema version {found!r}; this regplug reads {SCHEMA_VERSION}.",
            hint="Read it with the version of regplug named in the manifest, or export the run again.",
        )
    return dict(document)


_WHAT = "A bundle is the folder that `regplug run` or `regplug export` wrote."
_AGAIN = "Copy the bundle again from where it was made, or export the run again."
