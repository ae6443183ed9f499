"""A process of the tests that dies says how."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import pytest

pytest.importorskip("xdist")

DEATHS = {
    "os.kill(os.getpid(), 9)": "ended by signal 9, SIGKILL",
    "os._exit(3)": "ended with exit code 3",
}


@pytest.mark.slow
@pytest.mark.parametrize("how", DEATHS)
def test_a_process_of_the_tests_that_dies_says_by_which_signal_or_exit_code(tmp_path, how):
    (tmp_path / "test_dies.py").write_text(f"import os\ndef test_dies():\n    {how}\n")
    command = [sys.executable, "-m", "pytest", "-n", "1", "--max-worker-restart", "0", "-p", "ended_workers"]
    given = {"PYTHONPATH": str(Path(__file__).parent), "PATH": "/usr/bin:/bin", "PYTEST_DISABLE_PLUGIN_AUTOLOAD": "1"}
    command += ["-p", "xdist", "-c", "/dev/null", "--rootdir", str(tmp_path), str(tmp_path)]
    said = subprocess.run(command, cwd=tmp_path, env=given, capture_output=True, text=True, check=False)
    assert f"[gw0] its process {DEATHS[how]}" in said.stdout
