"""The contract of a bundle's folder: files, JSON and checksums. Standard library only."""

from __future__ import annotations

import hashlib
import json
import math
import os
import reprlib
from collections.abc import Iterable, Mapping
from pathlib import Path
from typing import Any

from regplug.bundles.named.schema import named_fault
from regplug.bundles.reading import COPY_AGAIN, WHAT, read_json, read_small, why_not_plain
from regplug.bundles.report import Report
from regplug.bundles.schema import is_plain_name, manifest_fault, report_fault
from regplug.errors import BundleError, VerificationError

SCHEMA_VERSION = 1
"""Incremented when a reader of the older manifest could misread the newer one."""

NAMED_VERSION = 2
"""Schema version of manifests with several inputs or outputs, or symbolic axes besides the batch."""

MANIFEST = "manifest.json"
VERIFICATION = "verification.json"
SAMPLE_INPUT = "sample_input.npz"
SAMPLE_OUTPUT = "sample_output.npz"
README = "README.md"
CHECKSUMS = "SHA256SUMS"
SIGNATURE = "SHA256SUMS.minisig"
NOT_SUMMED = (CHECKSUMS, SIGNATURE)
"""Files without a checksum: the checksums themselves, and their signature, which only a signed bundle has."""

RESERVED = (CHECKSUMS, SIGNATURE, MANIFEST, README, SAMPLE_INPUT, SAMPLE_OUTPUT, VERIFICATION)
"""The files of a bundle that are not model files; older bundles have no `README.md`."""

MOST_ONNX_BYTES = 2**31
"""Size of the largest protobuf message."""

MODEL_ONNX = "model.onnx"
"""The file that `predict` runs."""


def canonical_json(document: Mapping[str, Any]) -> str:
    """Returns a canonical text of a document: sorted keys, no NaN.

    Raises:
        TypeError: A value is not JSON.
        ValueError: A number is NaN or infinite.
    """
    return json.dumps(document, sort_keys=True, indent=2, ensure_ascii=False, allow_nan=False)


def sha256_file(path: Path) -> str:
    """Returns the checksum of a file as hexadecimal digits."""
    with path.open("rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()


def write_checksums(folder: Path) -> None:
    """Writes `SHA256SUMS` for all other files of the folder, in the format of `sha256sum`."""
    names = sorted(path.name for path in folder.iterdir() if path.name not in NOT_SUMMED)
    lines = [f"{sha256_file(folder / name)}  {name}\n" for name in names]
    (folder / CHECKSUMS).write_text("".join(lines), encoding="utf-8")


def bundle_digest(folder: Path) -> str:
    """Returns the SHA-256 of `SHA256SUMS`, which stands for all files of the bundle.

    Raises:
        BundleError: There is no such file.
        VerificationError: It is not a regular file, or is far too large.
    """
    return hashlib.sha256(read_small(folder, CHECKSUMS)).hexdigest()


def read_checksums(folder: Path) -> dict[str, str]:
    """Reads `SHA256SUMS`.

    Raises:
        BundleError: There is no such file: the folder is not a bundle.
        VerificationError: A line is not a checksum with a plain file name.
    """
    try:
        text = read_small(folder, CHECKSUMS).decode()
    except UnicodeDecodeError as error:
        raise BundleError(f"{folder} is not a bundle: its {CHECKSUMS} cannot be read ({error}).", hint=WHAT) from error
    pairs = [_parse_line(folder, line) for line in text.splitlines()]
    sums = dict(pairs)
    if not sums or len(sums) < len(pairs):
        reason = "is empty" if not sums else "lists a file twice"
        raise VerificationError(f"{folder}: {CHECKSUMS} {reason}.", hint=COPY_AGAIN)
    return sums


def _parse_line(folder: Path, line: str) -> tuple[str, str]:
    digest, separator, name = line.partition("  ")
    if not separator or len(digest) != 64 or not is_plain_name(name):
        raise VerificationError(
            f"{folder}: {CHECKSUMS} has a line that is not a checksum: {line[:200]!r}.", hint=COPY_AGAIN
        )
    return name, digest


def is_bundle(folder: Path) -> bool:
    """Returns whether a folder has the files of a bundle."""
    return (folder / CHECKSUMS).is_file() and (folder / MANIFEST).is_file()


def require_bundle(folder: Path) -> None:
    """Checks that a path is a bundle's folder.

    Raises:
        BundleError: The path does not exist, is not a folder, or has neither manifest nor checksums.
    """
    if not folder.exists():
        raise BundleError(f"There is no bundle at {folder}.", hint=WHAT)
    if not folder.is_dir():
        hint = f"Name its folder: {folder.parent}" if is_bundle(folder.parent) else WHAT
        raise BundleError(f"{folder} is a file, not a bundle.", hint=hint)
    if not os.access(folder, os.R_OK | os.X_OK):
        raise BundleError(f"{folder} cannot be read.", hint="Ask its owner for read permission.")
    if not (folder / CHECKSUMS).is_file() and not (folder / MANIFEST).is_file():
        raise BundleError(f"{folder} is not a bundle: it has neither {MANIFEST} nor {CHECKSUMS}.", hint=WHAT)


def most_bytes_of_model(name: str) -> float:
    """Returns the maximum size of a model file in bytes; an `.onnx` file is one protobuf message."""
    return MOST_ONNX_BYTES if name.endswith(".onnx") else math.inf


def require_small_enough(folder: Path, name: str) -> None:
    """Checks, before it is read, that a model file is not larger than its format allows.

    Raises:
        VerificationError: It is larger.
    """
    path = folder / name
    if path.is_file() and path.stat().st_size > most_bytes_of_model(name):
        raise VerificationError(f"{folder}: {name} is larger than an ONNX file can be.", hint=COPY_AGAIN)


def require_unchanged(folder: Path, names: Iterable[str]) -> None:
    """Checks that files are exactly those that were verified at export.

    Raises:
        BundleError: The folder is not a bundle.
        VerificationError: A file is missing, not listed or changed.
    """
    sums = read_checksums(folder)
    for name in names:
        reason = changed(folder, name, sums)
        if reason:
            raise VerificationError(f"{folder}: {reason}", hint=COPY_AGAIN)


def changed(folder: Path, name: str, sums: Mapping[str, str]) -> str:
    """Returns why a file is not the verified one, or an empty string."""
    if name not in sums:
        return f"{name} is not listed in {CHECKSUMS}."
    reason = why_not_plain(folder / name)
    if reason:
        return f"{name} {reason}."
    try:
        digest = sha256_file(folder / name)
    except OSError as error:
        return f"{name} cannot be read ({error})."
    if digest != sums[name]:
        return f"{name} is not the verified file: its sha256 differs from {CHECKSUMS}."
    return ""


def read_manifest(folder: Path) -> dict[str, Any]:
    """Reads a bundle's manifest.

    Raises:
        BundleError: The folder has no manifest.
        VerificationError: The manifest is not a JSON object, has another schema version, or does not conform to the
            schema.
    """
    document = read_json(folder, MANIFEST)
    found = document.get("schema_version") if isinstance(document, dict) else None
    if type(found) is not int or found not in (SCHEMA_VERSION, NAMED_VERSION):
        raise VerificationError(
            f"{folder}: {MANIFEST} has schema version {reprlib.repr(found)}; this regplug reads {SCHEMA_VERSION} and "
            f"{NAMED_VERSION}.",
            hint="Read it with the version of regplug named in the manifest, or export the run again.",
        )
    fault = (named_fault if found == NAMED_VERSION else manifest_fault)(document) or _reserved_fault(document)
    if fault:
        raise VerificationError(f"{folder}: {MANIFEST} contradicts its schema: {fault}.", hint=COPY_AGAIN)
    return dict(document)


def onnx_file(manifest: Mapping[str, Any]) -> str:
    """Returns the ONNX file that predicts, or an empty string; one with fewer bits only if there is no other."""
    names = (MODEL_ONNX, *sorted(manifest["files"]))
    return next((name for name in names if name in manifest["files"] and name.endswith(".onnx")), "")


def model_files(manifest: Mapping[str, Any]) -> list[str]:
    """Returns the model files, each followed by the file of its weights if it has one."""
    pairs = ((name, facts.get("weights")) for name, facts in manifest["files"].items())
    return [name for pair in pairs for name in pair if name]


def model_kib(folder: Path, name: str, facts: Mapping[str, Any]) -> str:
    """Returns the size of a model file with its weights as text.

    Args:
        folder: The bundle's folder.
        name: The model file.
        facts: Its entry in the manifest.
    """
    names = [name, facts["weights"]] if "weights" in facts else [name]
    return f"{sum((folder / one).stat().st_size for one in names) / 2**10:,.0f} KiB"


def is_named(manifest: Mapping[str, Any]) -> bool:
    """Returns whether a manifest has several inputs or outputs, or symbolic axes besides the batch."""
    return bool(manifest["schema_version"] == NAMED_VERSION)


def _reserved_fault(manifest: Mapping[str, Any]) -> str:
    taken = sorted(set(RESERVED) & set(model_files(manifest)))
    return f"files names {taken[0]}, which is not a model file" if taken else ""


def read_report(folder: Path) -> Report:
    """Reads the report of a bundle's export.

    Raises:
        BundleError: The folder has none.
        VerificationError: It is not a JSON object, does not conform to the schema, or contradicts itself.
    """
    document = read_json(folder, VERIFICATION)
    fault = report_fault(document)
    if fault:
        raise VerificationError(f"{folder}: {VERIFICATION} contradicts its schema: {fault}.", hint=COPY_AGAIN)
    return Report.from_json(document)
