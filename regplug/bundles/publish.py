"""Publishes a folder completely or not at all: writes it next to its final path, then renames it.

A killed process leaves its partial folder. The folder is locked while its process lives, so that the next export here
can recognise and remove abandoned folders.
"""

from __future__ import annotations

import contextlib
import errno
import fcntl
import os
import re
import shutil
import tempfile
import uuid
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any

from regplug.bundles.layout import is_bundle, read_manifest
from regplug.config.values import is_utf8
from regplug.errors import ExportError, RegplugError, RequestError

_ELSEWHERE = "Choose another path with --out, or remove it."
OVERWRITE = "Choose another path with out=, or replace it with overwrite=True (at the terminal --out and --overwrite)."
"""Hint for an existing bundle that may be replaced on request."""


@contextlib.contextmanager
def published(out: Path) -> Iterator[Path]:
    """Yields a temporary folder, and renames it to `out` if the block ends without an error.

    Args:
        out: The bundle's folder. An existing bundle there is replaced.

    Raises:
        RequestError: Something else exists there, or its parent cannot be written; nothing was done.
        ExportError: The files could not be written; nothing is left.
    """
    out = Path(os.path.abspath(out))  # noqa: PTH100 - resolve() would follow a link, which must be refused
    fresh, folder = _begin(out), _beside(out, "part")
    try:
        with _locked(fresh):
            fresh.rename(folder)  # gets the name that `tidy` recognises only after it is locked
            yield folder
            _replace(folder, out)
    except OSError as error:
        raise ExportError(
            f"The bundle cannot be written to {out}: {error}.",
            hint="Nothing was left behind. Free some space, or choose another path with --out.",
        ) from error
    finally:
        shutil.rmtree(folder, ignore_errors=True)


def require_free(out: Path, owner: str = "", *, overwrite: bool = False, hint: str = _ELSEWHERE) -> None:
    """Checks, before anything is done, that a bundle can be written to a path.

    Args:
        out: The bundle's folder.
        owner: The run whose own bundle may be replaced, or the sorted runs of an ensemble, joined by `+`; empty for
            none.
        overwrite: Whether any bundle may be replaced.
        hint: Hint for an existing bundle.

    Raises:
        RequestError: Something else exists there, such as the bundle of another run, or its parent cannot be written.
    """
    try:
        _refuse_taken(out)
        if is_bundle(out) and not overwrite:
            _refuse_other(out, owner, hint)
        _try_to_make(Path(os.path.abspath(out)))  # noqa: PTH100 - as in `published`
    except OSError as error:
        raise _cannot_make(out, error) from error


def _try_to_make(out: Path) -> None:
    """Creates the folders that `published` will create, in a folder that is removed immediately.

    Permission bits do not reveal a read-only file system or a name that is too long; an attempt does.
    """
    parent = next(folder for folder in out.parents if folder.exists())
    with tempfile.TemporaryDirectory(dir=parent, prefix=".regplug-") as trial:
        (Path(trial) / out.parent.relative_to(parent) / _beside(out, "part").name).mkdir(parents=True)


def _cannot_make(out: Path, error: OSError) -> RequestError:
    if error.errno == errno.ENAMETOOLONG:
        return RequestError(f"The name of the bundle {out} is too long.", hint="Choose a shorter one with --out.")
    return RequestError(
        f"A bundle cannot be written to {out.parent}: {error.strerror}.",
        hint="Choose a folder with write permission with --out.",
    )


def _refuse_other(out: Path, owner: str, hint: str) -> None:
    try:
        manifest = read_manifest(out)
    except RegplugError:
        manifest = {}
    runs = sorted(member["run_id"] for member in manifest.get("members", ()))
    found = manifest.get("run_id") or "+".join(runs)
    if owner and found == owner:
        return
    raise RequestError(
        f"{out} contains a bundle {_owned(manifest, runs)}".rstrip() + ", which was not replaced.", hint=hint
    )


def _owned(manifest: Mapping[str, Any], runs: Sequence[str]) -> str:
    if runs:
        return f"of the runs {', '.join(run[:8] for run in runs)}"
    if manifest.get("run_id"):
        return f"of run {manifest['run_id'][:8]}"
    return f"of a module, with state {manifest['state_sha256'][:12]}" if manifest else ""


def _refuse_taken(out: Path) -> None:
    if not is_utf8(str(out)):
        raise RequestError(f"The path {str(out)!r} is not valid UTF-8.", hint="Choose another path with --out.")
    if out.is_symlink() or (out.exists() and not _may_replace(out)):
        raise RequestError(f"{out} exists and is not a bundle; it was not replaced.", hint=_ELSEWHERE)


def _begin(out: Path) -> Path:
    _refuse_taken(out)
    folder = _beside(out, "new")
    try:
        out.parent.mkdir(parents=True, exist_ok=True)
        tidy(out.parent)
        folder.mkdir()
    except OSError as error:
        raise _cannot_make(out, error) from error
    return folder


def _may_replace(out: Path) -> bool:
    return out.is_dir() and (is_bundle(out) or not any(out.iterdir()))


def _replace(folder: Path, out: Path) -> None:
    if not out.exists() or not any(out.iterdir()):
        folder.rename(out)
        return
    old = _beside(out, "old")
    with _locked(out):
        out.rename(old)
        try:
            folder.rename(out)
        except OSError:
            old.rename(out)
            raise
        shutil.rmtree(old, ignore_errors=True)


def _beside(out: Path, what: str) -> Path:
    return out.with_name(f".{out.name}.{uuid.uuid4().hex[:8]}.{what}")


_BESIDE = re.compile(r"\.(.+)\.[0-9a-f]{8}\.(part|old)")


def abandoned(parent: Path) -> Iterator[Path]:
    """Yields the parts of bundles in a folder whose process is gone. Each is locked until the next one is asked for."""
    for path in sorted(parent.iterdir()) if parent.is_dir() else ():
        if _BESIDE.fullmatch(path.name) and path.is_dir() and not path.is_symlink():
            with contextlib.suppress(OSError), _locked(path, is_needed=True):
                yield path


def tidy(parent: Path) -> None:
    """Removes what killed processes left in a folder; restores a bundle whose replacement was not finished."""
    for path in abandoned(parent):
        name, kind = _BESIDE.fullmatch(path.name).groups()  # type: ignore[union-attr] # it is one of these names
        out = parent / name
        if kind == "old" and is_bundle(path) and not out.exists():
            path.rename(out)
        else:
            shutil.rmtree(path, ignore_errors=True)


@contextlib.contextmanager
def _locked(folder: Path, *, is_needed: bool = False) -> Iterator[None]:
    """Holds the lock of a folder, which ends with the process.

    Args:
        folder: The folder.
        is_needed: Whether it is an error if the file system does not support locks.

    Raises:
        OSError: Another process holds the lock, or locks are needed but not supported.
    """
    handle = os.open(folder, os.O_RDONLY)
    try:
        with contextlib.nullcontext() if is_needed else contextlib.suppress(OSError):
            fcntl.flock(handle, fcntl.LOCK_EX | fcntl.LOCK_NB)
        yield
    finally:
        os.close(handle)
