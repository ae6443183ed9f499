"""Opens a store: prepares a new SQLite file, and detects within seconds a store that cannot be reached or written."""

from __future__ import annotations

import logging
import os
import sqlite3
from contextlib import closing
from dataclasses import replace
from pathlib import Path
from typing import Any

from regplug.errors import TrackingError
from regplug.registry.uncollected import uncollected
from regplug.tracking import reaching
from regplug.tracking.blank import keep_blank, take_blank
from regplug.tracking.location import Location, sqlite_uri
from regplug.tracking.secrets import masked
from regplug.tracking.trouble import explain, tracking_trouble

_MAKES_FOLDERS = "_make_parent_dirs_if_sqlite"
_LOCK_TIMEOUT_S = 60.0
_DRAFT_SUFFIX = ".new"
_LOCKS = {"postgresql": "SELECT pg_advisory_lock(7347584)", "mysql": "SELECT GET_LOCK('regplug', 60)"}
"""Statements that make other processes wait until this one has created the schema."""
_PACKAGES = {"psycopg": "psycopg[binary]", "psycopg2": "psycopg2-binary", "mysqldb": "mysqlclient"}
"""SQLAlchemy driver -> package to install, if their names differ."""
_QUIET = {
    "MLFLOW_LOGGING_LEVEL": "WARNING",
    "MLFLOW_DISABLE_AGENT_HINT": "1",
    "MLFLOW_SUPPRESS_PRINTING_URL_TO_STDOUT": "true",  # it contains the password
    "MLFLOW_ENABLE_ARTIFACTS_PROGRESS_BAR": "false",  # drawn where tqdm is installed
}


def open_backend(location: Location) -> tuple[Any, Any]:
    """Returns MLflow's client on the store, and its SQL store (`None` for a server).

    Raises:
        TrackingError: It cannot be reached or written.
    """
    _quieten()
    doing = _doing(location)
    with tracking_trouble(doing), uncollected():
        if location.database is not None:
            _prepare_sqlite(location, location.database, doing)
        elif location.kind == "database":
            _prepare_database(location)
        else:
            reaching.reach(location, reaching.REACH_TIMEOUT_S)
            _reach_server(location.uri)
        _make_no_quoted_folders(location)
        from mlflow import MlflowClient
        from mlflow.tracking._tracking_service.utils import _get_store

        client = MlflowClient(tracking_uri=location.uri)
        # The client's own store: opening another would check the schema again, which takes a tenth of a second.
        return client, None if location.kind == "server" else _get_store(location.uri)  # type: ignore[no-untyped-call]


def require_reachable(location: Location) -> None:
    """Checks within seconds, and without MLflow, that a server or a database is there.

    Raises:
        TrackingError: It is not.
    """
    with tracking_trouble(_doing(location)):
        reaching.reach(location, reaching.REACH_TIMEOUT_S)


def _doing(location: Location) -> str:
    return f"The tracking store {location.shown} cannot be used"


def _make_no_quoted_folders(location: Location) -> None:
    """Keeps MLflow from creating the folder of a quoted address: it would create a second one named `50%2520off`."""
    from mlflow.store.db import utils

    makes = getattr(utils, _MAKES_FOLDERS, None)
    if makes is not None and location.database is not None and "%" in location.uri:
        setattr(utils, _MAKES_FOLDERS, lambda uri: None if "%" in uri else makes(uri))


def _quieten() -> None:
    """Turns off MLflow's telemetry and log messages unless the user wants them; errors are still raised."""
    if "DO_NOT_TRACK" not in os.environ:
        os.environ.setdefault("MLFLOW_DISABLE_TELEMETRY", "true")
    for name, value in _QUIET.items():
        os.environ.setdefault(name, value)
    # It tells of each repeated request; regplug reports a lost store itself.
    logging.getLogger("urllib3.connectionpool").setLevel(logging.ERROR)
    logging.getLogger("alembic").setLevel(logging.WARNING)
    # It logs a traceback for each database error that it raises, which regplug raises as well.
    logging.getLogger("mlflow.store.db.utils").setLevel(logging.CRITICAL)


def _make_sql_store(location: Location) -> None:
    """Opens MLflow's SQL store once, which creates schema and default experiment if they are missing."""
    from mlflow.store.tracking.sqlalchemy_store import SqlAlchemyStore

    # mlflow is typed, but half of its functions have no annotations.
    SqlAlchemyStore(location.uri, location.artifacts).engine.dispose()  # type: ignore[no-untyped-call]


def _prepare_sqlite(location: Location, database: Path, doing: str) -> None:
    """Creates a missing schema, in one process at a time, and checks that the file can be written."""
    from filelock import FileLock, Timeout

    database.parent.mkdir(parents=True, exist_ok=True)
    if not _has_content(database):
        try:
            with FileLock(f"{database}.lock", timeout=_LOCK_TIMEOUT_S):
                if not _has_content(database):
                    _create_sqlite(location, database)
        except Timeout:
            raise TrackingError(
                f"{doing}: another process has been creating it for {_LOCK_TIMEOUT_S:.0f} s.",
                hint=f"End that process, or remove {database}.lock.",
            ) from None
    with closing(sqlite3.connect(database, timeout=20)) as connection:
        connection.execute("PRAGMA journal_mode=WAL")
        # Acquires and releases the write lock, to detect a read-only file or folder before training.
        connection.execute("BEGIN IMMEDIATE")
        connection.execute("ROLLBACK")


def _has_content(database: Path) -> bool:
    return database.exists() and database.stat().st_size > 0


def _create_sqlite(location: Location, database: Path) -> None:
    """Creates schema and default experiment in a temporary file and renames it, so that no partial store remains."""
    draft = database.with_name(database.name + _DRAFT_SUFFIX)
    draft.unlink(missing_ok=True)
    try:
        if not take_blank(draft, location):
            _migrate(replace(location, uri=sqlite_uri(draft)))
            keep_blank(draft)
        with draft.open("rb+") as file:
            os.fsync(file.fileno())
        draft.replace(database)
    finally:
        draft.unlink(missing_ok=True)


def _migrate(location: Location) -> None:
    from sqlalchemy import event
    from sqlalchemy.engine import Engine

    event.listen(Engine, "connect", _write_without_waiting)
    try:
        _make_sql_store(location)
    finally:
        event.remove(Engine, "connect", _write_without_waiting)


def _write_without_waiting(connection: Any, _: Any) -> None:
    """Turns off syncing to disk during the migrations of the draft, which is synced once at the end."""
    if not isinstance(connection, sqlite3.Connection):
        return
    file = connection.execute("PRAGMA database_list").fetchone()[2]
    if file.endswith(_DRAFT_SUFFIX):
        connection.execute("PRAGMA synchronous=OFF")
        connection.execute("PRAGMA journal_mode=MEMORY")


def _prepare_database(location: Location) -> None:
    """Connects once, because MLflow itself would retry for a hundred seconds; creates a missing schema once."""
    import sqlalchemy

    url = sqlalchemy.make_url(location.uri)
    engine = _engine(location.uri)  # tells of a missing driver
    reaching.reach(location, reaching.REACH_TIMEOUT_S)
    try:
        if reaching.within(reaching.REACH_TIMEOUT_S, lambda: _has_experiments(engine)):
            _make_sql_store(location)
            return
        with engine.connect().execution_options(isolation_level="AUTOCOMMIT") as connection:
            # Another process may create it at this moment; the end of the connection gives the lock back.
            lock = _LOCKS.get(url.get_backend_name())
            if lock is not None:
                connection.execute(sqlalchemy.text(lock))
            _make_sql_store(location)
            connection.invalidate()
    finally:
        engine.dispose()


def _has_experiments(engine: Any) -> bool:
    """Returns whether a store was completely created: its first experiment is the last thing that is."""
    import sqlalchemy

    with engine.connect() as connection:
        if not sqlalchemy.inspect(connection).has_table("experiments"):
            return False
        return bool(connection.execute(sqlalchemy.text("SELECT COUNT(*) FROM experiments")).scalar_one())


def _engine(uri: str) -> Any:
    import sqlalchemy

    url = sqlalchemy.make_url(uri)
    try:
        return sqlalchemy.create_engine(url)
    except ImportError as error:
        # SQLAlchemy has a default driver for each kind of database.
        driver = url.get_dialect().driver
        package = _PACKAGES.get(driver, driver)
        raise TrackingError(
            f"The tracking store {masked(uri)} needs the driver {driver}: {error}.",
            hint=f"Install it: pip install '{package}'. To use another driver, name it in the address: "
            f"{url.get_backend_name()}+DRIVER://...",
        ) from error


def _reach_server(uri: str) -> None:
    """Sends one request without retries, because MLflow itself would retry for four minutes."""
    if not uri.startswith(("http://", "https://")):
        return
    from mlflow.utils.credentials import get_default_host_creds
    from mlflow.utils.rest_utils import http_request

    response = http_request(  # type: ignore[no-untyped-call]
        get_default_host_creds(uri),  # type: ignore[no-untyped-call]
        "/api/2.0/mlflow/experiments/search",
        "POST",
        max_retries=0,
        timeout=reaching.REACH_TIMEOUT_S,
        raise_on_status=False,
        json={"max_results": 1},
    )
    said = f"it answered {response.status_code} {response.reason}"
    if response.status_code == 200:
        if _is_document(response):
            return
        said = "its answer is not that of an MLflow server"
    raise explain(f"The tracking server {masked(uri)} cannot be used", RuntimeError(said))


def _is_document(response: Any) -> bool:
    """Returns whether an answer is a JSON document; other servers answer any request with a page."""
    try:
        return isinstance(response.json(), dict)
    except ValueError:
        return False
