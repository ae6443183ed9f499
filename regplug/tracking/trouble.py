"""Turns what MLflow, the database and the file system raise into one `TrackingError` with the next step."""

from __future__ import annotations

import re
from collections.abc import Iterator
from contextlib import contextmanager

from regplug.errors import RegplugError, TrackingError
from regplug.tracking.secrets import masked

_HINTS = {
    "readonly database": "Make the folder writable, or set MLFLOW_TRACKING_URI to a store that is.",
    "unable to open database": "Make the folder writable, or set MLFLOW_TRACKING_URI to a store that is.",
    "Permission denied": "Make the folder writable, or set MLFLOW_TRACKING_URI to a store that is.",
    "Read-only file system": "Set MLFLOW_TRACKING_URI to a store that can be written.",
    "disk I/O error": "Free some space, or see what the disk has; what was logged before is kept.",
    "disk is full": "Free some space; what was logged before is kept.",
    "No space left": "Free some space; what was logged before is kept.",
    "database is locked": "Another process has held the database for long; end it, or use a server for many writers.",
    "not a database": "Move the file away, or set MLFLOW_TRACKING_URI to another store.",
    "out-of-date database schema": "Upgrade it, after a backup, with: mlflow db upgrade sqlite:///mlruns/mlflow.db",
    "Can't locate revision": "A newer MLflow wrote this database: upgrade with pip install -U mlflow.",
    "Connection refused": "Start the server or the database again, or check its address.",
    "timed out": "See whether the server or the database still answers; it may be overloaded.",
    "401": "Set MLFLOW_TRACKING_USERNAME and MLFLOW_TRACKING_PASSWORD, or MLFLOW_TRACKING_TOKEN.",
    "403": "Ask the server's owner for access.",
}
_REFUSALS = frozenset({"BAD_REQUEST", "INVALID_PARAMETER_VALUE", "INVALID_STATE", "RESOURCE_DOES_NOT_EXIST"})
_RACES = ("UNIQUE constraint failed", "duplicate key", "Duplicate entry")
"""What SQLite, PostgreSQL, MySQL and SQL Server say where another process has just written the same row."""
_CAUSE = re.compile(r"\[Errno -?\d+\] ([^'\"()]+)|(Read timed out|timed out)")
_GENERAL_HINT = "Check MLFLOW_TRACKING_URI; unset it to track in mlruns/mlflow.db."


@contextmanager
def tracking_trouble(doing: str) -> Iterator[None]:
    """Raises what goes wrong inside as a `TrackingError` which says what was being done.

    Args:
        doing: What is done, as the error's beginning: "Metrics could not be logged".
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
    """Returns the `TrackingError` for what was raised, with the hint that fits it and without passwords."""
    reason = _reason(error)
    hint = next((hint for sign, hint in _HINTS.items() if sign in reason), _GENERAL_HINT)
    return TrackingError(f"{doing}: {reason}", hint=hint)


def is_refusal(error: TrackingError) -> bool:
    """Returns whether the store answered and does not take what it was given, so that trying again is no use."""
    cause = error.__cause__
    is_cut_off = getattr(getattr(cause, "__cause__", None), "connection_invalidated", False)
    return getattr(cause, "error_code", None) in _REFUSALS and not is_cut_off


def is_lost_race(error: BaseException) -> bool:
    """Returns whether another process wrote the same row a moment earlier: tried again, it is found there."""
    return any(sign in str(error) for sign in _RACES)


def _is_storage_trouble(error: Exception) -> bool:
    """Whether it comes from the store and not from a mistake in the program."""
    origins = {kind.__module__.partition(".")[0] for kind in type(error).__mro__}
    return isinstance(error, OSError | ImportError) or bool(origins & {"mlflow", "sqlalchemy", "alembic", "sqlite3"})


def _reason(error: BaseException) -> str:
    """What the driver said where a database failed, else the first line that says something; never a password."""
    cause: BaseException | None = error
    while cause is not None and not getattr(cause, "orig", None):
        cause = cause.__cause__
    text = masked(str(getattr(cause, "orig", error)).strip())
    return _shortened(text.splitlines()[0][:500]) if text else type(error).__name__


def _shortened(text: str) -> str:
    """Leaves out what HTTP libraries wrap around the one fact that they have."""
    found = _CAUSE.search(text) if "HTTPConnectionPool" in text or "HTTPSConnectionPool" in text else None
    return (found[1] or found[2]).strip() if found else text
