"""The folder appears whole or not at all: built beside its place, then renamed."""

from __future__ import annotations

import contextlib
import errno
import os
import shutil
import tempfile
import uuid
from collections.abc import Iterator
from pathlib import Path

from regplug.bundles.layout import is_bundle, read_manifest
from regplug.config.values import is_utf8
from regplug.errors import ExportError, RequestError


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


def require_free(out: Path, run_id: str = "") -> None:
    """Refuses a place where no new bundle can appear, before anything is trained for it.

    Args:
        out: Where the bundle shall lie.
        run_id: The run whose own bundle may be replaced there.

    Raises:
        RequestError: Something lies there, be it the bundle of another run, or its parent cannot be written.
    """
    try:
        _refuse_taken(out)
        if is_bundle(out) and read_manifest(out).get("run_id") != run_id:
            raise RequestError(
                f"{out} holds the bundle of another run; it is left as it is.",
                hint="Give another place with --out, or remove it.",
            )
        _try_to_make(Path(os.path.abspath(out)))  # noqa: PTH100 - as in `published`
    except OSError as error:
        raise _cannot_make(out, error) from error


def _try_to_make(out: Path) -> None:
    """Makes the folders that `published` will make, in a folder that is removed at once.

    Permission bits tell nothing of a read-only file system or of a name that is too long; an attempt does.
    """
    parent = next(folder for folder in out.parents if folder.exists())
    with tempfile.TemporaryDirectory(dir=parent, prefix=".regplug-") as trial:
        (Path(trial) / out.parent.relative_to(parent) / _part_name(out)).mkdir(parents=True)


def _cannot_make(out: Path, error: OSError) -> RequestError:
    if error.errno == errno.ENAMETOOLONG:
        return RequestError(f"The name of the bundle {out} is too long.", hint="Give a shorter one with --out.")
    return RequestError(
        f"A bundle cannot be made in {out.parent}: {error.strerror}.",
        hint="Give a folder that you may write with --out.",
    )


def _part_name(out: Path) -> str:
    return f".{out.name}.{uuid.uuid4().hex[:8]}.part"


def _refuse_taken(out: Path) -> None:
    if not is_utf8(str(out)):
        raise RequestError(f"The path {str(out)!r} is not valid UTF-8.", hint="Give another place with --out.")
    if out.is_symlink() or (out.exists() and not _may_replace(out)):
        raise RequestError(
            f"{out} exists and is no bundle; it is left as it is.", hint="Give another place with --out, or remove it."
        )


def _begin(out: Path) -> Path:
    _refuse_taken(out)
    folder = out.with_name(_part_name(out))
    try:
        out.parent.mkdir(parents=True, exist_ok=True)
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
    old = out.with_name(f".{out.name}.{uuid.uuid4().hex[:8]}.old")
    out.rename(old)
    try:
        folder.rename(out)
    except OSError:
        old.rename(out)
        raise
    shutil.rmtree(old, ignore_errors=True)
