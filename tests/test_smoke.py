"""What every environment must be able to do; `.ci/run --full` tries it with other versions."""

from __future__ import annotations

import os
import shlex
import subprocess
import sys

import pytest

COMMANDS = """
regplug plugins list
regplug run --reg dropout --model mlp:hidden=[16] --epochs 2 --name first --out first
regplug verify first
regplug predict first first/sample_input.npz
regplug inspect first
regplug export first --format onnx --out again --register digits
regplug sweep --model mlp:hidden=[16] --grid lr=0.05,0.2 --seeds 2 --epochs 2 --experiment grid --format torchscript
regplug compare grid
regplug cv --model mlp:hidden=[16] --grid reg=none,l2 --folds 2 --epochs 2 --format torchscript
regplug runs list
regplug plugins new my-regs
regplug plugins check my-regs --plugin my-regs/src/my_regs
"""


@pytest.mark.slow
def test_every_command_ends_well_without_a_warning_and_leaves_only_what_was_asked_for(tmp_path):
    environment = {key: value for key, value in os.environ.items() if not key.startswith(("MLFLOW_", "PYTHON"))}
    for command in COMMANDS.strip().splitlines():
        words = [sys.executable, "-m", *shlex.split(command)]
        said = subprocess.run(words, cwd=tmp_path, env=environment, capture_output=True, text=True, check=False)
        assert said.returncode == 0, f"{command}\n{said.stdout}{said.stderr}"
        assert "Warning" not in said.stdout + said.stderr, f"{command}\n{said.stdout}{said.stderr}"
    made = {path.name for path in tmp_path.iterdir()}
    assert made == {"again", "bundles", "first", "mlruns", "my-regs", "report-grid.html"}
