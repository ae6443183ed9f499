"""The folder appears whole or not at all: built beside its place, then renamed."""

from __future__ import annotations

import contextlib
import os
import shutil
import tempfile
import uuid
from collections.abc import Iterator
from pathlib import Path

from regplug.bundles.layout import is_bundle, read_manifest
from regplug.errors import ExportError, RegplugError, RequestError

_ELSEWHERE = "Give another place with --out, or remove it."

OVERWRITE = "Give another place with out=, or replace it with overwrite=True (at the terminal --out and --overwrite)."
"""What to do about a bundle in the way, where it may be replaced on request."""


@contextlib.contextmanager
def published(out: Path) -> Iterator[Path]:
    """Gives a folder to build in, and renames it to `out` where the block ends without an error.

    Args:
        out: Where the bundle shall lie. A bundle that lies there already is replaced.

    Raises:
        RequestError: Something else lies there, or its parent cannot be written; nothing was done.
        ExportError: The disk refused while the files were written; nothing is left.
    """
    out = Path(os.path.abspath(out))  # noqa: PTH100 - resolve() would follow a link that is to be refused
    folder = _begin(out)
    try:
        yield folder
        _replace(folder, out)
    except OSError as error:
        raise ExportError(
            f"The bundle cannot be written to {out}: {error}.",
            hint="Nothing was left behind. Free space, or give another place with --out.",
        ) from error
    finally:
        shutil.rmtree(folder, ignore_errors=True)


def require_free(out: Path, run_id: str = "", *, overwrite: bool = False, hint: str = _ELSEWHERE) -> None:
    """Refuses a place where no new bundle can appear, before anything is done for it.

    Args:
        out: Where the bundle shall lie.
        run_id: The run whose own bundle may be replaced there; empty for none.
        overwrite: Whether any bundle may be replaced there.
        hint: What to do where a bundle lies there.

    Raises:
        RequestError: Something lies there, be it the bundle of another run, or its parent cannot be written.
    """
    _refuse_taken(out)
    if is_bundle(out) and not overwrite:
        _refuse_other(out, run_id, hint)
    parent = next(folder for folder in Path(out).absolute().parents if folder.exists())
    try:
        # Permission bits do not tell of a read-only or virtual file system; an attempt does.
        tempfile.TemporaryDirectory(dir=parent, prefix=".regplug-").cleanup()
    except OSError as error:
        raise RequestError(
            f"A bundle cannot be made in {out.parent}: {error}.", hint="Give a folder that you may write with --out."
        ) from error


def _refuse_other(out: Path, run_id: str, hint: str) -> None:
    try:
        manifest = read_manifest(out)
    except RegplugError:
        manifest = {}
    owner, state = manifest.get("run_id"), manifest.get("state_sha256")
    if run_id and owner == run_id:
        return
    of_what = f"of run {str(owner)[:8]}" if owner else f"of a module, with state {str(state)[:12]}" if state else ""
    raise RequestError(f"{out} holds a bundle {of_what}".rstrip() + "; it is left as it is.", hint=hint)


def _refuse_taken(out: Path) -> None:
    if out.is_symlink() or (out.exists() and not _may_replace(out)):
        raise RequestError(f"{out} exists and is no bundle; it is left as it is.", hint=_ELSEWHERE)


def _begin(out: Path) -> Path:
    _refuse_taken(out)
    folder = out.with_name(f".{out.name}.{uuid.uuid4().hex[:8]}.part")
    try:
        out.parent.mkdir(parents=True, exist_ok=True)
        folder.mkdir()
    except OSError as error:
        raise RequestError(
            f"A bundle cannot be made in {out.parent}: {error}.", hint="Give a folder that you may write with --out."
        ) from error
    return folder


def _may_replace(out: Path) -> bool:
    return out.is_dir() and (is_bundle(out) or not any(out.iterdir()))


def _replace(folder: Path, out: Path) -> None:
    if not out.exists() or not any(out.iterdir()):
        folder.rename(out)
        return
    old = out.with_name(f".{out.name}.{uuid.uuid4().hex[:8]}.old")
    out.rename(old)
    try:
        folder.rename(out)
    except OSError:
        old.rename(out)
        raise
    shutil.rmtree(old, ignore_errors=True)
