"""What killed processes leave beside a bundle, and who removes it."""

from __future__ import annotations

import shutil
import subprocess
import sys

import pytest

from regplug.bundles.publish import published

BUILDS = """
import sys, time
from pathlib import Path
from regplug.bundles import publish

def wait(*_, **__):
    print("building", flush=True)
    time.sleep(600)

if sys.argv[2] == "replaces":  # killed when the new bundle is there and the old one not yet removed
    publish.shutil.rmtree = wait
with publish.published(Path(sys.argv[1])) as folder:
    for name in ("SHA256SUMS", "manifest.json"):
        (folder / name).write_text("new")
    if sys.argv[2] == "builds":
        wait()
"""


@pytest.fixture
def build():
    """Starts a process that is in the middle of making a bundle; kills it at the end."""
    processes = []

    def start(out, what="builds"):
        process = subprocess.Popen([sys.executable, "-c", BUILDS, str(out), what], stdout=subprocess.PIPE, text=True)
        processes.append(process)
        assert process.stdout.readline() == "building\n"
        return process

    yield start
    for process in processes:
        process.kill()
        process.communicate()


def names(folder):
    return sorted(path.name for path in folder.iterdir())


def make(out, text="whole"):
    with published(out) as folder:
        for name in ("SHA256SUMS", "manifest.json"):
            (folder / name).write_text(text)


def test_what_a_killed_process_was_building_is_removed_by_the_next_and_what_a_living_one_builds_is_not(tmp_path, build):
    killed, _ = build(tmp_path / "first"), build(tmp_path / "second")
    killed.kill()
    killed.wait()
    assert [name.rpartition(".")[2] for name in names(tmp_path)] == ["part", "part"]
    make(tmp_path / "third")
    left, third = names(tmp_path)
    assert third == "third"
    assert left.startswith(".second.")


def test_folders_that_are_no_leftovers_stay(tmp_path):
    for name in (".notes.part", ".notes.12345678.parts", "notes.12345678.part"):
        (tmp_path / name).mkdir()
    (tmp_path / ".file.12345678.part").write_text("mine")
    make(tmp_path / "bundle")
    assert len(names(tmp_path)) == 5


def test_an_old_bundle_that_was_put_aside_is_removed_where_the_new_one_came(tmp_path, build):
    make(tmp_path / "bundle")
    killed = build(tmp_path / "bundle", "replaces")
    assert len(names(tmp_path)) == 2
    killed.kill()
    killed.wait()
    make(tmp_path / "other")
    assert names(tmp_path) == ["bundle", "other"]
    assert (tmp_path / "bundle" / "manifest.json").read_text() == "new"


def test_an_old_bundle_that_was_put_aside_comes_back_where_no_new_one_came(tmp_path):
    make(tmp_path / "bundle", "old")
    (tmp_path / "bundle").rename(tmp_path / ".bundle.12345678.old")
    make(tmp_path / "other")
    assert names(tmp_path) == ["bundle", "other"]
    assert (tmp_path / "bundle" / "manifest.json").read_text() == "old"


def test_a_file_system_without_locks_takes_bundles_and_keeps_what_lies_there(tmp_path, monkeypatch):
    def no_locks(*_):
        raise OSError(95, "Operation not supported")

    monkeypatch.setattr("regplug.bundles.publish.fcntl.flock", no_locks)
    (tmp_path / ".other.12345678.part").mkdir()
    make(tmp_path / "bundle")
    assert names(tmp_path) == [".other.12345678.part", "bundle"]
    shutil.rmtree(tmp_path / "bundle")
