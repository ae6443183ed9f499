"""The command line as a process of its own: what signals do to it, and what it writes while it takes long."""

from __future__ import annotations

import contextlib
import json
import re
import signal
import socket
import subprocess
import sys
from pathlib import Path

import pytest
from cli_calls import environment
from waiting import LONGEST_S, free_port, wait_until

from regplug.tracking import open_store

REGPLUG = (sys.executable, "-m", "regplug")


@pytest.fixture
def folder(tmp_path, monkeypatch):
    """The current folder, with an empty store."""
    monkeypatch.chdir(tmp_path)
    monkeypatch.delenv("MLFLOW_TRACKING_URI", raising=False)
    open_store()
    return tmp_path


def heed_interrupts():
    """A shell's background job, which CI may be, hands down that SIGINT is ignored."""
    signal.signal(signal.SIGINT, signal.SIG_DFL)


def trained(runs):
    """Names of runs that have logged an epoch: before that a run is not announced yet."""
    return [run["name"] for run in runs if run["metrics"]]


@pytest.mark.slow
def test_ctrl_c_ends_a_run_after_the_epoch_killed_with_exit_code_130(folder, terminal):
    command = (*REGPLUG, "run", "--epochs", "1000000", "--name", "endless", "--no-export")
    with subprocess.Popen(
        command,
        cwd=folder,
        env=environment(COLUMNS="80"),
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
        preexec_fn=heed_interrupts,
    ) as process:
        wait_until(lambda: "endless" in trained(terminal("runs", "list", "--json").document["runs"]), process)
        process.send_signal(signal.SIGINT)
        out, err = process.communicate(timeout=LONGEST_S)
    assert process.returncode == 130
    assert re.fullmatch(
        r"warning: Interrupted after epoch \d+ of 1000000\. `regplug runs resume \w{8}` continues the run\.",
        err.splitlines()[-1],
    )
    assert "endless: KILLED in" in out
    assert "test accuracy" in out
    assert terminal("runs", "show", "endless", "--json").document["status"] == "KILLED"


def heed_the_terminal():
    """Under `nohup`, which CI may be, SIGHUP is ignored."""
    signal.signal(signal.SIGHUP, signal.SIG_DFL)


@pytest.mark.slow
def test_a_terminal_that_is_closed_ends_a_run_as_killed(folder, terminal):
    command = (*REGPLUG, "run", "--epochs", "1000000", "--name", "hung up", "--no-export")
    with subprocess.Popen(
        command,
        cwd=folder,
        env=environment(COLUMNS="80"),
        stderr=subprocess.PIPE,
        text=True,
        preexec_fn=heed_the_terminal,
    ) as process:
        wait_until(lambda: "hung up" in trained(terminal("runs", "list", "--json").document["runs"]), process)
        process.send_signal(signal.SIGHUP)
        _, err = process.communicate(timeout=LONGEST_S)
    assert process.returncode == 130
    assert err.splitlines()[-1] == "Interrupted."
    assert terminal("runs", "show", "hung up", "--json").document["status"] == "KILLED"


@pytest.mark.slow
def test_a_second_ctrl_c_ends_a_run_at_once(folder, terminal):
    program = (
        "import os, signal; from regplug.cli.app import invoke; from regplug.runs.results import Observer\n"
        "from regplug.cli.progress import Progress\n"
        "Progress.epoch_ended = lambda self, record: [os.kill(os.getpid(), signal.SIGINT) for _ in range(2)]\n"
        "raise SystemExit(invoke(['run', '--epochs', '9', '--name', 'stopped', '--no-export']))"
    )
    command = [sys.executable, "-c", program]
    done = subprocess.run(
        command, cwd=folder, env=environment(COLUMNS="80"), capture_output=True, text=True, preexec_fn=heed_interrupts
    )
    assert done.returncode == 130
    assert done.stderr.splitlines()[-1] == "Interrupted."
    assert "ended KILLED; what it logged is kept." in done.stderr
    assert terminal("runs", "show", "stopped", "--json").document["status"] == "KILLED"


@pytest.mark.slow
def test_the_ui_answers_and_is_gone_after_its_end(folder):
    port = free_port()
    command = (*REGPLUG, "ui", "--port", str(port), "--json")
    with subprocess.Popen(
        command, cwd=folder, env=environment(COLUMNS="80"), stdout=subprocess.PIPE, text=True
    ) as process:
        document = json.JSONDecoder().raw_decode("".join(iter(process.stdout.readline, "}\n")) + "}")[0]
        assert document["address"] == f"http://127.0.0.1:{port}"
        socket.create_connection(("127.0.0.1", port), timeout=5).close()
        process.send_signal(signal.SIGTERM)
        assert process.wait(timeout=LONGEST_S) == 0
    with pytest.raises(OSError, match="refused"):
        socket.create_connection(("127.0.0.1", port), timeout=5)
    assert left_of_group(document["pid"]) == []


def left_of_group(group):
    """Processes of a group that still run; one that nobody has waited for runs no more."""
    found = []
    for path in Path("/proc").glob("[0-9]*/stat"):
        with contextlib.suppress(OSError):  # it ended in this moment
            found.append(path.read_text().rpartition(")")[2].split())
    return [fields for fields in found if fields[2] == str(group) and fields[0] != "Z"]


@pytest.mark.slow
def test_a_long_run_writes_a_line_now_and_then_where_there_is_no_terminal(folder):
    program = (
        "import os, sys; from regplug.cli import progress; from regplug.cli.app import invoke\n"
        "progress.SIGN_EVERY_S = 0.0\n"
        # With one processor, there is no second process.
        "hasattr(os, 'sched_setaffinity') and os.sched_setaffinity(0, [min(os.sched_getaffinity(0))])\n"
        "command = ['run', '--no-export', '--epochs', '3', '--model', 'linear']\n"
        "codes = [invoke(command), sys.stderr.write('quiet\\n') and invoke([*command, '--json'])]\n"
        "raise SystemExit(any(codes))"
    )
    done = subprocess.run([sys.executable, "-c", program], cwd=folder, capture_output=True, text=True, check=True)
    told, quiet = done.stderr.split("quiet\n")
    lines = [line for line in told.splitlines() if line.startswith("epoch ")]
    assert [line.partition(":")[0] for line in lines] == [f"epoch {n}/3" for n in (1, 2, 3)]
    assert all("valid loss" in line for line in lines)
    assert quiet == ""
