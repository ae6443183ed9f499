"""Checks a bundle's folder before any model file is opened: regular files, bounded sizes, checksums, no extra files."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

from regplug import __version__
from regplug.bundles.archives import grows_too_large
from regplug.bundles.card import card_text, license_words
from regplug.bundles.layout import (
    NOT_SUMMED,
    README,
    RESERVED,
    changed,
    is_named,
    model_files,
    most_bytes_of_model,
    read_checksums,
    read_manifest,
)
from regplug.bundles.named.samples import most_bytes_named
from regplug.bundles.named.signature import Signature
from regplug.bundles.reading import MOST_BYTES, read_small, why_not_plain
from regplug.bundles.report import Check, at_most, holds
from regplug.bundles.samples import most_bytes
from regplug.errors import BundleError, VerificationError


def plain_files(path: Path) -> Check:
    """Checks that the folder contains only regular files: no links, folders or pipes."""
    reasons = {entry.name: why_not_plain(entry) for entry in path.iterdir()}
    odd = sorted(f"{name} {reason}" for name, reason in reasons.items() if reason)
    return at_most("bundle.plain_files", len(odd), 0, "; ".join(odd) or f"{len(reasons)} plain files")


def schema(path: Path) -> Check:
    """Checks that the manifest conforms to the schema, and that its fields are consistent."""
    try:
        manifest = read_manifest(path)
    except (VerificationError, BundleError) as error:
        return holds("bundle.schema", False, error.message)
    return holds("bundle.schema", True, f"schema version {manifest['schema_version']}")


def sizes(path: Path, manifest: Mapping[str, Any]) -> Check:
    """Checks, before anything is read, that no file is far larger than possible, packed or unpacked."""
    limits = {name: most_bytes_of_model(name) for name in manifest["files"]}
    samples = most_bytes_named(manifest) if is_named(manifest) else most_bytes(manifest)
    limits |= {**dict.fromkeys(RESERVED, MOST_BYTES), **samples}
    found = {entry.name: entry.stat().st_size for entry in path.iterdir()}
    large = [
        f"{name} has {found[name]:,} bytes, but at most {limit:,} are possible"
        for name, limit in limits.items()
        if found.get(name, 0) > limit
    ]
    names = [name for name in manifest["files"] if name in found]
    large += [f"{name} unpacks to far more than its size" for name in names if grows_too_large(path / name)]
    return at_most("bundle.sizes", len(large), 0, "; ".join(large) or "no file is larger than possible")


def checksums(path: Path) -> list[Check]:
    """Checks that the files are exactly those that were verified at export."""
    try:
        sums = read_checksums(path)
    except (VerificationError, BundleError) as error:
        return [holds("bundle.checksums", False, error.message)]
    faults = [reason for name in sorted(sums) if (reason := changed(path, name, sums))]
    there = {entry.name for entry in path.iterdir()} - {*NOT_SUMMED}
    extra = sorted(there - set(sums))
    return [
        at_most("bundle.checksums", len(faults), 0, " ".join(faults) or f"{len(sums)} files as they were verified"),
        at_most("bundle.no_extra_file", len(extra), 0, ", ".join(extra) or "no other files"),
    ]


def contents(path: Path, manifest: Mapping[str, Any]) -> Check:
    """Checks that the checksums cover exactly the files of a bundle and the model files in the manifest."""
    listed, wanted = set(read_checksums(path)), {*model_files(manifest), *RESERVED} - {*NOT_SUMMED}
    if README not in listed:
        wanted -= {README}  # a bundle of an older regplug
    told = [
        f"{words}: {', '.join(sorted(names))}"
        for words, names in (("missing", wanted - listed), ("unknown", listed - wanted))
        if names
    ]
    return at_most("bundle.contents", len(wanted ^ listed), 0, "; ".join(told) or "complete")


def readme(path: Path, manifest: Mapping[str, Any], num_checks: int) -> list[Check]:
    """Checks that the model card is the one that regplug writes for this bundle.

    Of a bundle that another version of regplug wrote, only the hash of the weights, the figures and the licence are
    looked for, and the card may be missing.

    Args:
        path: The bundle's folder.
        manifest: The manifest.
        num_checks: Number of checks at export.
    """
    is_ours = manifest["versions"].get("regplug") == __version__
    if README not in read_checksums(path):
        return [holds("bundle.readme", False, "there is no README.md")] if is_ours else []
    text = read_small(path, README).decode(errors="replace")
    if is_ours:
        is_same = text == card_text(path, manifest, num_checks)
        detail = "is" if is_same else "is not"
        return [holds("bundle.readme", is_same, f"README.md {detail} the card of this manifest and these files")]
    missing = [what for what, words in _card_facts(manifest) if words not in text]
    detail = f"README.md does not have {', '.join(missing)}" if missing else "README.md has the model's figures"
    return [at_most("bundle.readme", len(missing), 0, detail)]


def _card_facts(manifest: Mapping[str, Any]) -> Iterator[tuple[str, str]]:
    yield "the hash of the model's weights", manifest["state_sha256"]
    yield from (
        (f"the {one['name']}", f"| {one['name']} | {one['value']:.4g} |") for one in manifest.get("metrics") or ()
    )
    names = manifest["class_names"]
    # The card escapes what would change the page, and closes gaps.
    if names and all(name and name == " ".join(name.split()) and not set(name) & set("\\|<`") for name in names):
        yield "the names of the classes in their order", f": {', '.join(names)}."
    for axis in Signature.from_manifest(manifest).axes if is_named(manifest) else ():
        yield f"the sizes of {axis.name}", f"| `{axis.name}` | {axis.words} |"
    yield "the licence", f"\n## Licence\n\n{license_words(manifest)}\n"
    part = manifest.get("calibration")
    if part and part["kind"] == "temperature":
        yield "the temperature", f"temperature {part['temperature']:.4g},"
    elif part:
        yield "the coverage", f" {100 * part['coverage']:g} %"
