"""The empty store that is kept: a new one made from it is the one that MLflow makes."""

from __future__ import annotations

import sqlite3
from contextlib import closing
from pathlib import Path

import pytest

from regplug.tracking import open_store, opening

pytestmark = pytest.mark.slow


@pytest.fixture(autouse=True)
def cache(tmp_path, monkeypatch):
    monkeypatch.delenv("MLFLOW_TRACKING_URI", raising=False)
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "cache"))
    return tmp_path / "cache" / "regplug"


def made_in(folder: Path) -> list[list[str]]:
    """The whole database of a new store as the words of its SQL, with no times in it and its folder left out.

    The words are sorted: MLflow's migrations write the constraints of a table in another order each time.
    """
    folder.mkdir()
    database = open_store(folder=folder).location.database
    assert database is not None
    with closing(sqlite3.connect(database)) as connection:
        connection.execute("UPDATE experiments SET creation_time = 0, last_update_time = 0")
        lines = (line.replace(folder.as_uri(), "HERE").replace(",", " ") for line in connection.iterdump())
        return sorted(sorted(line.split()) for line in lines)


def forbid_migrations(monkeypatch):
    def fail(location):
        raise AssertionError("migrated, though an empty store was kept")

    monkeypatch.setattr(opening, "_migrate", fail)


def test_the_second_store_is_like_the_first_and_needs_no_migrations(tmp_path, monkeypatch, cache):
    first = made_in(tmp_path / "first")
    assert [path.suffix for path in cache.iterdir()] == [".db"]
    forbid_migrations(monkeypatch)
    second = made_in(tmp_path / "second é")
    assert second == first
    assert any("'HERE/mlruns/artifacts/0'" in line for line in second)


def test_a_kept_store_that_is_broken_is_made_anew(tmp_path, cache):
    first = made_in(tmp_path / "first")
    (kept,) = cache.iterdir()
    whole = kept.read_bytes()
    for name, content in {"empty": b"", "no database": b"no database", "half": whole[: len(whole) // 2]}.items():
        kept.write_bytes(content)
        assert made_in(tmp_path / name) == first, name
        assert len(kept.read_bytes()) == len(whole), name


def test_without_a_place_for_it_every_store_is_made_by_migrations(tmp_path, monkeypatch):
    (tmp_path / "cache").write_text("a file where the folder would be")
    assert made_in(tmp_path / "first") == made_in(tmp_path / "second")


def test_a_user_without_a_home_gets_a_store(tmp_path, monkeypatch):
    monkeypatch.delenv("XDG_CACHE_HOME")
    monkeypatch.setattr(Path, "home", lambda: (_ for _ in ()).throw(RuntimeError("no home")))
    assert open_store(folder=tmp_path).runs() == []
