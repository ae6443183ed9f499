"""Many processes that write many runs into one store at the same time."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from pathlib import Path

import pytest
from postgres import postgres  # noqa: F401 - the fixture
from tracking_server import Server

pytestmark = pytest.mark.skipif(not hasattr(os, "fork"), reason="the processes are forked once everything is imported")

PROCESSES = 8
SAMPLE, MANY, ROUNDS = 1, 25, 3
STORES = ("sqlite", "server", "database")


@pytest.fixture(scope="module")
def team(tmp_path_factory):
    made = Server(tmp_path_factory.mktemp("team"))
    yield made
    made.kill()


@pytest.fixture
def address(request):
    """Where a kind of store is; empty for the default store of a fresh folder."""

    def address_of(kind):
        if kind == "server":
            return request.getfixturevalue("team").address
        return request.getfixturevalue("postgres").uri if kind == "database" else ""

    return address_of


def assert_all_are_whole(folder, address, count, tell):
    environment = {key: value for key, value in os.environ.items() if not key.startswith("MLFLOW_TRACKING")}
    if address:
        environment["MLFLOW_TRACKING_URI"] = address
    command = [sys.executable, str(Path(__file__).parent / "many_writers.py"), str(folder), str(count)]
    said = subprocess.run(command, env=environment, capture_output=True, text=True, check=False)
    assert (said.returncode, said.stderr) == (0, "")
    found = json.loads(said.stdout.splitlines()[-1])
    seconds = found.pop("seconds")
    total = PROCESSES * count
    tell(f"{total} runs of {PROCESSES} processes in {seconds:.0f} s into {address.partition(':')[0] or 'sqlite'}")
    assert found == {"runs": total, "names": total, "lacking": {}, "exit_codes": [0]}


@pytest.mark.slow
@pytest.mark.parametrize("kind", STORES)
def test_eight_processes_lose_nothing(tmp_path, kind, address, tell):
    assert_all_are_whole(tmp_path, address(kind), SAMPLE, tell)


@pytest.mark.full
@pytest.mark.parametrize("kind", STORES)
@pytest.mark.parametrize("number", range(ROUNDS))
def test_two_hundred_runs_of_eight_processes_lose_nothing(tmp_path, kind, number, address, tell):
    assert_all_are_whole(tmp_path, address(kind), MANY, tell)
