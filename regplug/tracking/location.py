"""The location of the tracking store, from the request, the environment and the folder. Does not import mlflow."""

from __future__ import annotations

import os
from dataclasses import dataclass, field
from pathlib import Path
from typing import Literal
from urllib.parse import unquote, urlparse

from regplug.config.values import is_utf8
from regplug.errors import TrackingError
from regplug.tracking.secrets import masked

_SQLITE = "sqlite:///"
_DATABASES = ("postgresql", "mysql", "mssql")
_ELSEWHERE = "Work in another folder, or set MLFLOW_TRACKING_URI."
_NEXT_STEP = (
    "Set MLFLOW_TRACKING_URI to sqlite:///mlruns/mlflow.db or to the address of an MLflow server, "
    "or unset it for the default."
)


@dataclass(frozen=True, kw_only=True)
class Location:
    """A tracking store.

    Args:
        uri: The address for MLflow; a path in it is absolute. It may contain a password: print `shown` instead.
        kind: A SQLite file, another database, or a server.
        database: The SQLite file, else `None`.
        artifacts: Absolute URI of the files of new experiments; `None` if the server decides.
        folder: A folder of this machine for files beside the store.
    """

    uri: str = field(repr=False)
    kind: Literal["sqlite", "database", "server"]
    database: Path | None = None
    artifacts: str | None = None
    folder: Path

    @property
    def shown(self) -> str:
        """The address without its password."""
        return masked(self.uri)

    @property
    def is_missing(self) -> bool:
        """Whether it is a SQLite file that does not exist yet; False for other kinds of store."""
        return self.database is not None and not self.database.exists()

    def require_there(self) -> None:
        """Checks that the store exists, for commands that only read.

        Raises:
            TrackingError: It is missing.
        """
        if self.is_missing:
            raise TrackingError(
                f"Nothing is tracked here: there is no {self.database}.",
                hint="Change to the folder where you ran `regplug run`, or give --tracking-uri.",
            )


def resolve_location(tracking_uri: str | None = None, folder: Path = Path()) -> Location:
    """Returns the store: `tracking_uri`, else `MLFLOW_TRACKING_URI`, else `mlruns/mlflow.db` in `folder`.

    Args:
        tracking_uri: An MLflow tracking URI or `None`. A relative SQLite path is relative to `folder`.
        folder: Folder of the default store.

    Raises:
        TrackingError: It is a file store, which MLflow no longer supports, an in-memory SQLite database, or not a valid
            address.
    """
    asked = tracking_uri or os.environ.get("MLFLOW_TRACKING_URI")
    if asked and not is_utf8(asked):
        raise TrackingError(f"The tracking URI {asked!r} is not valid UTF-8.", hint=_NEXT_STEP)
    if not asked:
        _refuse_file_store(folder / "mlruns")
        return _locate_sqlite(folder / "mlruns" / "mlflow.db")
    scheme = asked.partition(":")[0].lower() if ":" in asked else ""
    if scheme.startswith("sqlite"):
        return _locate_sqlite(_sqlite_path(asked, folder))
    # One letter is the drive of a Windows path.
    if (len(scheme) <= 1 and asked != "databricks") or scheme == "file":
        raise TrackingError(f"{masked(asked)} is a file store, which MLflow no longer supports.", hint=_NEXT_STEP)
    _require_address(asked)
    own = (folder / "mlruns").absolute()
    if scheme.startswith(_DATABASES):
        root = os.environ.get("MLFLOW_DEFAULT_ARTIFACT_ROOT") or _file_uri(folder / "mlruns" / "artifacts")
        return Location(uri=asked, kind="database", artifacts=root, folder=own)
    return Location(uri=asked, kind="server", folder=own)


def _require_address(uri: str) -> None:
    """Refuses an invalid address; the message shows only its scheme, because the rest may contain a password."""
    try:
        is_address = not set(uri) & set(" \t\n") and (urlparse(uri).port or True)
    except ValueError:  # the port is not a number
        is_address = False
    if not is_address:
        raise TrackingError(
            f"The tracking address {uri.partition('://')[0]}://... cannot be read.",
            hint="Write scheme://user:password@host:port/name, and special characters in the password as %XX: "
            "python -c \"import urllib.parse; print(urllib.parse.quote(input(), safe=''))\"",
        )


def _sqlite_path(uri: str, folder: Path) -> Path:
    path = uri.partition(":///")[2].partition("?")[0]
    if not path or path == ":memory:":
        raise TrackingError(f"{masked(uri)} names no file, so nothing would be kept.", hint=_NEXT_STEP)
    # MLflow itself writes such URIs both quoted and plain.
    plain = folder / path
    return plain if plain.exists() or "%" not in path else folder / unquote(path)


def _locate_sqlite(path: Path) -> Location:
    database = path.absolute()
    if not is_utf8(str(database)):
        raise TrackingError(
            f"The path {str(database)!r} is not valid UTF-8, and MLflow cannot keep it.", hint=_ELSEWHERE
        )
    return Location(
        uri=sqlite_uri(database),
        kind="sqlite",
        database=database,
        folder=database.parent,
        artifacts=_file_uri(database.parent / "artifacts"),
    )


def sqlite_uri(database: Path) -> str:
    """Returns the address of a SQLite file for the installed SQLAlchemy: 2.1 decodes %20 as a space, 2.0 does not.

    Args:
        database: Its absolute path.

    Raises:
        TrackingError: It contains a question mark, which this SQLAlchemy cannot represent.
    """
    path = database.as_posix()
    if set(path).isdisjoint("%?"):
        return f"{_SQLITE}{path}"
    from sqlalchemy import make_url

    quoted = f"{_SQLITE}{path.replace('%', '%25').replace('?', '%3F')}"
    if make_url(quoted).database == path:
        return quoted
    if "?" in path:
        raise TrackingError(f"{path} contains a ?, which a SQLite address cannot represent.", hint=_ELSEWHERE)
    return f"{_SQLITE}{path}"


def _file_uri(path: Path) -> str:
    return path.absolute().as_uri()


def _refuse_file_store(folder: Path) -> None:
    """Refuses a folder with a file store and no database, or one that cannot be read."""
    try:
        if (folder / "mlflow.db").exists() or not any(folder.glob("[0-9]*/meta.yaml")):
            return
    except OSError as error:
        raise TrackingError(f"The tracking store {folder} cannot be used: {error}", hint=_NEXT_STEP) from error
    raise TrackingError(
        f"{folder} is a file store, which MLflow no longer supports.",
        hint=f"Migrate it with: mlflow migrate-filestore --source {folder.parent} "
        f"--target sqlite:///{folder / 'mlflow.db'}",
    )
