"""The folder appears whole or not at all: built beside its place, then renamed.

A process that is killed meanwhile leaves what it was building. Its folder is locked for as long as it lives, so that
the next one here knows what nobody builds any more, and removes it.
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
from collections.abc import Iterator
from pathlib import Path

from regplug.bundles.layout import is_bundle, read_manifest
from regplug.config.values import is_utf8
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
    fresh, folder = _begin(out), _beside(out, "part")
    try:
        with _locked(fresh):
            fresh.rename(folder)  # under the name that `_tidy` knows only once it is locked
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
    try:
        _refuse_taken(out)
        if is_bundle(out) and not overwrite:
            _refuse_other(out, run_id, hint)
        _try_to_make(Path(os.path.abspath(out)))  # noqa: PTH100 - as in `published`
    except OSError as error:
        raise _cannot_make(out, error) from error


def _try_to_make(out: Path) -> None:
    """Makes the folders that `published` will make, in a folder that is removed at once.

    Permission bits tell nothing of a read-only file system or of a name that is too long; an attempt does.
    """
    parent = next(folder for folder in out.parents if folder.exists())
    with tempfile.TemporaryDirectory(dir=parent, prefix=".regplug-") as trial:
        (Path(trial) / out.parent.relative_to(parent) / _beside(out, "part").name).mkdir(parents=True)


def _cannot_make(out: Path, error: OSError) -> RequestError:
    if error.errno == errno.ENAMETOOLONG:
        return RequestError(f"The name of the bundle {out} is too long.", hint="Give a shorter one with --out.")
    return RequestError(
        f"A bundle cannot be made in {out.parent}: {error.strerror}.",
        hint="Give a folder that you may write with --out.",
    )


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
    if not is_utf8(str(out)):
        raise RequestError(f"The path {str(out)!r} is not valid UTF-8.", hint="Give another place with --out.")
    if out.is_symlink() or (out.exists() and not _may_replace(out)):
        raise RequestError(f"{out} exists and is no bundle; it is left as it is.", hint=_ELSEWHERE)


def _begin(out: Path) -> Path:
    _refuse_taken(out)
    folder = _beside(out, "new")
    try:
        out.parent.mkdir(parents=True, exist_ok=True)
        _tidy(out.parent)
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


def _tidy(parent: Path) -> None:
    """Removes what killed processes left in a folder; a bundle that was being replaced is put back where none came."""
    for path in parent.iterdir():
        found = _BESIDE.fullmatch(path.name)
        if found is None or not path.is_dir() or path.is_symlink():
            continue
        with contextlib.suppress(OSError), _locked(path, is_needed=True):
            out = parent / found[1]
            if found[2] == "old" and is_bundle(path) and not out.exists():
                path.rename(out)
            else:
                shutil.rmtree(path, ignore_errors=True)


@contextlib.contextmanager
def _locked(folder: Path, *, is_needed: bool = False) -> Iterator[None]:
    """Holds the lock of a folder, which ends with the process however that ends.

    Args:
        folder: The folder.
        is_needed: Whether to go on without one, where the file system has none, is wrong.

    Raises:
        OSError: Another process holds it, or there is none, and it is needed.
    """
    handle = os.open(folder, os.O_RDONLY)
    try:
        with contextlib.nullcontext() if is_needed else contextlib.suppress(OSError):
            fcntl.flock(handle, fcntl.LOCK_EX | fcntl.LOCK_NB)
        yield
    finally:
        os.close(handle)
