"""`--json` of every command: one document on stdout whatever happens, and exit codes 0, 1 and 2."""

from __future__ import annotations

import os
import re
import shutil
import signal
import sys
from importlib import import_module

import pytest
from cli_calls import terminal_in
from tracking_stores import copied_store
from waiting import free_port

import regplug
from regplug.cli import output
from regplug.cli.app import COMMANDS
from regplug.runs.results import Observer

SMALL = ("--model", "linear", "--epochs", "1")
GRID = (*SMALL, "--grid", "lr=0.1,0.2", "--no-export")

WRONG = {
    "run": (*SMALL, "--lr", "-1"),
    "plan": (*SMALL, "--reg", "dropuot"),
    "sweep": (*SMALL, "--grid", "lrr=1,2"),
    "cv": (*GRID, "--folds", "1"),
    "lab list": ("--plugin", "nowhere.py"),
    "lab run": ("nowhere",),
    "lab page": ("nowhere",),
    "compare": ("nowhere",),
    "plugins list": ("--kind", "regulariser"),
    "plugins show": ("dropuot",),
    "plugins doctor": ("--plugin", "nowhere.py"),
    "plugins new": ("my-regs", "--kind", "regulariser"),
    "plugins check": ("nowhere",),
    "data show": ("nowhere.csv",),
    "runs list": ("--filter", "nonsense"),
    "runs show": ("nowhere",),
    "runs resume": ("nowhere",),
    "runs delete": ("nowhere", "--yes"),
    "runs clean": ("--tracking-uri", "nonsense://"),
    "runs sync": ("--from", "sqlite:///mlruns/mlflow.db"),
    "plot activations": ("sine-of-the-times",),
    "ui": ("--port", "0"),
    "export": ("nowhere",),
    "verify": ("nowhere",),
    "predict": ("nowhere", "x.npy"),
    "serve": ("nowhere",),
    "inspect": ("nowhere",),
}
"""Command -> arguments that are wrong."""

RIGHT = {
    "plan": SMALL,
    "sweep": GRID,
    "cv": (*GRID, "--folds", "2"),
    "lab list": (),
    "lab run": ("tiny", "--seeds", "1", "--plugin", "tiny_lab.py"),
    "lab page": ("mlruns/lab", "--out", "lab.md", "--plugin", "tiny_lab.py"),
    "compare": ("digits/linear", "--metric", "valid/accuracy", "--out", "compared.html"),
    "plugins list": (),
    "plugins show": ("dropout",),
    "plugins doctor": (),
    "plugins new": ("my-regs", "--kind", "activation"),
    "plugins check": ("my-regs", "--plugin", "my-regs/src/my_regs"),
    "data show": ("rows.csv",),
    "runs list": (),
    "runs show": ("made",),
    "runs resume": ("broken off",),
    "runs clean": (),
    "runs sync": (),
    "plot activations": ("gelu",),
    "ui": ("--port", "PORT"),
    "export": ("made", "--format", "onnx", "--out", "again"),
    "verify": ("bundle",),
    "predict": ("bundle", "bundle/sample_input.npz"),
    "serve": ("bundle", "--port", "0"),
    "inspect": ("bundle",),
    "runs delete": ("made", "--yes"),
}
"""Command -> arguments that are right, beside a run `made` with a bundle and an interrupted run `broken off`."""

STUDY = """
from regplug.api import Study, hookimpl

@hookimpl
def regplug_studies():
    yield Study(name="tiny", target="tiny_lab:study", summary="One run.", question="Does it run?")

def study(lab):
    from regplug.lab import Findings, bounded

    loss = lab.run("one", model="linear", dataset="moons", epochs=1).metrics["test/loss"]
    return Findings(claims=[bounded("finite", "It does.", [loss], low=0, source="a test")])
"""


@pytest.fixture(scope="module")
def folder(tmp_path_factory):
    """A folder with a store."""
    made = tmp_path_factory.mktemp("json")
    copied_store(made)
    (made / "rows.csv").write_text("a,b\n1,x\n2,y\n3,x\n")
    (made / "tiny_lab.py").write_text(STUDY)
    return made


@pytest.fixture
def terminal(folder, capsys, monkeypatch):
    return terminal_in(folder, capsys, monkeypatch)


def test_the_table_has_every_command(terminal):
    leaves = []
    for command in COMMANDS:
        under = re.findall(r"^  (\w+)  ", terminal(command, "--help").out.partition("Commands:")[2], re.MULTILINE)
        leaves += [f"{command} {leaf}" for leaf in under] or [command]
    assert leaves == [*WRONG]
    assert {*WRONG} - {*RIGHT} == {"run"}


def assert_is_an_error(said, code=2):
    assert said.code == code, said.err
    assert set(said.document) == {"error"}
    assert set(said.document["error"]) == {"type", "message", "hint"}
    assert said.document["error"]["message"]
    assert "Traceback" not in said.err


@pytest.mark.parametrize("command", WRONG)
def test_a_wrong_request_is_one_document_and_exit_code_two(terminal, folder, command):
    before = sorted(folder.iterdir())
    assert_is_an_error(terminal(*command.split(), *WRONG[command], "--json"))
    assert_is_an_error(terminal(*command.split(), "--nonsense", "--json"))
    assert sorted(folder.iterdir()) == before


class Interrupts(Observer):
    """Breaks a run off after its first epoch."""

    def epoch_ended(self, record):
        raise KeyboardInterrupt


@pytest.fixture
def ended_once_they_answer(monkeypatch, heeded):
    """The servers receive Ctrl-C after they have printed their document; a page of files stands in for MLflow's UI."""

    def emit(document):
        output.emit(document)
        os.kill(os.getpid(), signal.SIGINT)

    def command(location, host, port):
        return [sys.executable, "-m", "http.server", str(port), "--bind", host]

    for name in ("ui", "serve"):
        monkeypatch.setattr(import_module(f"regplug.cli.{name}"), "emit", emit)
    monkeypatch.setattr("regplug.tracking.ui.ui_command", command)


@pytest.mark.slow
def test_what_is_done_is_one_document_and_exit_code_zero(terminal, folder, ended_once_they_answer):
    made = terminal("run", *SMALL, "--name", "made", "--format", "onnx", "--out", "bundle", "--json")
    assert (made.code, made.document["status"]) == (0, "FINISHED"), made.err
    with pytest.raises(KeyboardInterrupt):
        regplug.run(model="linear", epochs=2, name="broken off", export=False, observers=[Interrupts()])
    for command, args in RIGHT.items():
        given = [str(free_port()) if arg == "PORT" else arg for arg in args]
        said = terminal(*command.split(), *given, "--json")
        assert said.code == 0, f"{command}: {said.err}"
        assert isinstance(said.document, dict), command
        assert "error" not in said.document, command


@pytest.mark.slow
def test_what_fails_after_its_start_is_one_document_and_exit_code_one(terminal, folder, tmp_path):
    diverged = terminal("run", "--model", "mlp", "--epochs", "1", "--lr", "1e30", "--no-export", "--json")
    assert_is_an_error(diverged, code=1)
    assert terminal("run", *SMALL, "--format", "onnx", "--out", str(tmp_path / "whole"), "--json").code == 0
    shutil.copytree(tmp_path / "whole", tmp_path / "broken")
    (tmp_path / "broken" / "model.onnx").write_bytes(b"broken")
    broken = terminal("verify", tmp_path / "broken", "--json")
    assert broken.code == 1
    assert isinstance(broken.document, dict)
