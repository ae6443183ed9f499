"""Turns exceptions of MLflow, the database and the file system into a `TrackingError` with the next step."""

from __future__ import annotations

import re
from collections.abc import Iterator
from contextlib import contextmanager

from regplug.errors import RegplugError, TrackingError
from regplug.tracking.secrets import mask_exception, masked

_HINTS = {
    "readonly database": "Make the folder writable, or set MLFLOW_TRACKING_URI to a store that is.",
    "unable to open database": "Make the folder writable, or set MLFLOW_TRACKING_URI to a store that is.",
    "Permission denied": "Make the folder writable, or set MLFLOW_TRACKING_URI to a store that is.",
    "Read-only file system": "Set MLFLOW_TRACKING_URI to a store that can be written.",
    "disk I/O error": "Free some space, or check the disk; earlier records are kept.",
    "disk is full": "Free some space; earlier records are kept.",
    "No space left": "Free some space; earlier records are kept.",
    "database is locked": "Another process has locked the database for long; end it, or use a server for many writers.",
    "is malformed": "The file is damaged: restore a backup of it, or move it away to begin a new one.",
    "not a database": "Move the file away, or set MLFLOW_TRACKING_URI to another store.",
    "out-of-date database schema": "Upgrade it, after a backup, with: mlflow db upgrade sqlite:///mlruns/mlflow.db",
    "Can't locate revision": "A newer MLflow wrote this database: upgrade with pip install -U mlflow.",
    "Connection refused": "Start the server or the database again, or check its address.",
    "timed out": "Check whether the server or the database still responds; it may be overloaded.",
    "error responses": "See the log of the server, or of the proxy before it.",
    r"(answered|error code) 401|401 Client Error": "Set MLFLOW_TRACKING_USERNAME and MLFLOW_TRACKING_PASSWORD, or "
    "MLFLOW_TRACKING_TOKEN.",
    r"(answered|error code) 403|403 Client Error|\(403\)": "Ask the server's owner for access.",
}
"""Pattern of a message -> the next step."""
_REFUSALS = frozenset({"BAD_REQUEST", "INVALID_PARAMETER_VALUE", "INVALID_STATE", "RESOURCE_DOES_NOT_EXIST"})
_RACES = ("UNIQUE constraint failed", "duplicate key", "Duplicate entry")
"""Messages of SQLite, PostgreSQL, MySQL and SQL Server if another process has just written the same row."""
_CAUSE = re.compile(
    r"\[Errno -?\d+\] ([^'\"()]+)|(Read timed out|timed out|too many \d+ error responses|Connection reset by peer|"
    r"Remote end closed connection without response)"
)
_GENERAL_HINT = "Check MLFLOW_TRACKING_URI; unset it to track in mlruns/mlflow.db."


@contextmanager
def tracking_trouble(doing: str) -> Iterator[None]:
    """Turns an exception in the block into a `TrackingError`.

    Args:
        doing: The beginning of the message: "Metrics could not be logged".
    """
    try:
        yield
    except RegplugError:
        raise
    except Exception as error:
        if not _is_storage_trouble(error):
            raise
        raise explain(doing, error) from error


def explain(doing: str, error: BaseException) -> TrackingError:
    """Returns the `TrackingError` for an exception, with a suitable hint and without passwords."""
    reason = _reason(error)
    mask_exception(error)
    hint = next((hint for sign, hint in _HINTS.items() if re.search(sign, reason)), _GENERAL_HINT)
    return TrackingError(f"{doing}: {reason}", hint=hint)


def is_refusal(error: TrackingError) -> bool:
    """Returns whether the store answered and refused the data, so that retrying is useless."""
    cause = error.__cause__
    is_cut_off = getattr(getattr(cause, "__cause__", None), "connection_invalidated", False)
    return getattr(cause, "error_code", None) in _REFUSALS and not is_cut_off


def is_lost_race(error: BaseException) -> bool:
    """Returns whether another process has just written the same row, so that a retry will find it."""
    return any(sign in str(error) for sign in _RACES)


def _is_storage_trouble(error: Exception) -> bool:
    """Returns whether the error comes from the store and not from a bug."""
    origins = {kind.__module__.partition(".")[0] for kind in type(error).__mro__}
    return isinstance(error, OSError | ImportError) or bool(origins & {"mlflow", "sqlalchemy", "alembic", "sqlite3"})


def _reason(error: BaseException) -> str:
    """Returns the driver's message for a database error, else the first non-empty line; never a password."""
    cause: BaseException | None = error
    while cause is not None and not getattr(cause, "orig", None):
        cause = cause.__cause__
    text = masked(str(getattr(cause, "orig", error)).strip())
    return _shortened(text.splitlines()[0][:500]) if text else type(error).__name__


def _shortened(text: str) -> str:
    """Removes what HTTP libraries wrap around the actual cause."""
    found = _CAUSE.search(text) if "HTTPConnectionPool" in text or "HTTPSConnectionPool" in text else None
    return (found[1] or found[2]).strip() if found else text
