"""Standard streams that are closed or full, or whose reader went away: nothing is lost but the words."""

from __future__ import annotations

import json
import subprocess
import sys
from pathlib import Path

import pytest
from broken_streams import FAULTS
from cli_calls import Terminal, environment

pytestmark = pytest.mark.slow  # each test exports, or starts processes

WARNS = ["--reg", "dropout", "--reg", "batchnorm"]
"""A composition of which a warning goes to stderr."""

QUICK = ["--model", "mlp:hidden=[4]", "--epochs", "1", "--format", "torchscript"]

COMMANDS = {
    "run": ["run", *QUICK, *WARNS],
    "sweep": ["sweep", *QUICK, *WARNS, "--no-export", "--grid", "lr=0.1,0.2"],
    "plan": ["plan", *QUICK, *WARNS],
    "plugins list": ["plugins", "list"],
    "runs list": ["runs", "list"],
    "predict": ["predict", "first", "first/sample_input.npz"],
    "compare": ["compare", "digits/mlp", "--out", "report.html"],
}
CODES = {"stdout full": 1}
EXPORTED = ("stdout full", "reader gone")
"""Faults under which the run is exported too, which takes a second or more each time."""

COMPLAINT = "error: The output could not be written: No space left on device.\n"


@pytest.fixture(scope="module")
def tried(tmp_path_factory):
    """The folder in which every command was called with every fault, and what each answered."""
    folder = tmp_path_factory.mktemp("streams")
    first = ["run", "--model", "mlp:hidden=[4]", "--epochs", "1", "--format", "onnx", "--out", "first"]
    calls = [("none", first)]
    for fault in FAULTS:
        place = ["--out", f"made/{fault}"] if fault in EXPORTED else ["--no-export", "--json"]
        own = {"run": [*place, "--name", f"run, {fault}"], "sweep": ["--name", f"sweep, {fault}"]}
        calls += [(fault, [*args, *own.get(name, [])]) for name, args in COMMANDS.items()]
    program = Path(__file__).with_name("broken_streams.py")
    done = subprocess.run(
        [sys.executable, program, folder], input=json.dumps(calls), cwd=folder, env=environment(), capture_output=True,
        text=True, check=True,
    )  # fmt: skip
    keys = [("none", "first"), *((fault, name) for fault in FAULTS for name in COMMANDS)]
    return folder, dict(zip(keys, json.loads(done.stdout), strict=True))


@pytest.mark.parametrize("fault", FAULTS)
@pytest.mark.parametrize("name", COMMANDS)
def test_a_broken_stream_ends_no_command(tried, name, fault):
    answer = tried[1][fault, name]
    assert answer["code"] == CODES.get(fault, 0), answer
    assert "Traceback" not in answer["err"]
    if fault == "stdout full":
        assert answer["err"].endswith(COMPLAINT)
    elif fault.startswith("stderr"):
        assert answer["out"]
    others = answer["err"].removesuffix(COMPLAINT).splitlines()
    assert all(line.startswith(("warning: ", "problem: ")) for line in others)


def test_the_store_and_the_bundles_are_as_without_the_fault(tried, capsys, monkeypatch):
    folder = tried[0]
    monkeypatch.chdir(folder)
    monkeypatch.delenv("MLFLOW_TRACKING_URI", raising=False)
    terminal = Terminal(capsys)
    runs = terminal("runs", "list", "--limit", "1000", "--json").document["runs"]
    assert {run["status"] for run in runs} == {"FINISHED"}
    assert len(runs) == 1 + len(FAULTS) * (1 + 1 + 2)
    for fault in EXPORTED:
        assert terminal("verify", Path("made", fault)).code == 0
    assert {file.name for file in Path("made").iterdir()} == set(EXPORTED)
