"""Runs, sweeps and cross-validations that are killed with signal 9 resume to the weights of ones left alone."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from pathlib import Path

import pytest

pytestmark = pytest.mark.skipif(not hasattr(os, "fork"), reason="the work is killed in forked processes")

FULL = pytest.mark.full


def killed(folder, what, kills, seed=1):
    environment = {key: value for key, value in os.environ.items() if not key.startswith("MLFLOW_")}
    command = [sys.executable, str(Path(__file__).parent / "killed.py"), str(folder), what, str(kills), str(seed)]
    said = subprocess.run(command, env=environment, capture_output=True, text=True, check=False)
    assert said.returncode == 0, said.stderr
    return json.loads(said.stdout.splitlines()[-1])


@FULL
@pytest.mark.parametrize(("what", "kills"), [("run", 20), ("sweep", 20), ("cv", 20)])
def test_what_is_killed_at_any_moment_resumes_to_the_same_weights_and_points(tmp_path, tell, what, kills):
    found = killed(tmp_path, what, kills)
    tell(f"{what}: killed {found['killed']} times in {found['seconds']:.1f} s of work")
    assert found["differ"] == []
    assert found["killed"] >= kills / 2


OF_ALL = [
    "right after the start", "right after the training began", "during the write of a checkpoint",
    "before a checkpoint is renamed", "after a checkpoint is renamed", "during the logging of the figures",
    "after the checkpoint is removed", "before its end is written",
]  # fmt: skip
OF_EXPORTS = ["after the weights are stored", "during the export", "after the export"]
OF_STUDIES = ["between two stacks", "after the children are written"]


@pytest.mark.parametrize(
    ("what", "moments"),
    [
        pytest.param("run", ["after the weights are stored", "before its end is written"], marks=pytest.mark.slow),
        pytest.param("sweep", ["during the write of a checkpoint"], marks=pytest.mark.slow),
        pytest.param("run", OF_ALL + OF_EXPORTS, marks=FULL),
        pytest.param("sweep", OF_ALL + OF_STUDIES, marks=FULL),
        pytest.param("cv", OF_ALL + OF_EXPORTS + OF_STUDIES, marks=FULL),
    ],
    ids=["run-ends", "sweep-checkpoint", "run", "sweep", "cv"],
)
def test_what_is_killed_at_an_unlucky_moment_resumes_to_the_same_weights_and_points(tmp_path, what, moments):
    found = killed(tmp_path, what, ",".join(moments))
    assert found["differ"] == []
    assert found["killed"] >= len(moments)
