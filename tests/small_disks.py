"""Disks on which hardly anything fits: file systems in memory of a chosen size."""

from __future__ import annotations

import os
import shutil
import subprocess
from contextlib import ExitStack, contextmanager
from pathlib import Path

import pytest
from tracking_stores import prepared_database

KIB = 1024


@contextmanager
def mounted(folder, size):
    """A disk of `size` bytes at the folder."""
    folder.mkdir()
    command = ["mount", "-t", "tmpfs", "-o", f"size={size}", "regplug-test", str(folder)]
    said = subprocess.run(command, capture_output=True, text=True, check=False)
    if said.returncode != 0:
        pytest.skip(f"a small disk cannot be mounted here: {said.stderr.strip()}")
    try:
        yield folder
    finally:
        # Lazily: a store that was opened stays open as long as the process lives.
        subprocess.run(["umount", "--lazy", str(folder)], check=True)


@pytest.fixture
def small_disk(tmp_path, monkeypatch):
    """Makes a disk with a prepared store and so much room beside it, in KiB, and stands in it."""
    if os.geteuid() != 0 or shutil.which("mount") is None:
        pytest.skip("only root can mount a small disk")
    monkeypatch.delenv("MLFLOW_TRACKING_URI", raising=False)
    with ExitStack() as stack:

        def make(room):
            database = prepared_database()
            disk = stack.enter_context(mounted(tmp_path / "disk", len(database) + room * KIB))
            stack.callback(os.chdir, Path.cwd())
            (disk / "mlruns").mkdir()
            (disk / "mlruns" / "mlflow.db").write_bytes(database)
            os.chdir(disk)
            return disk

        yield make
