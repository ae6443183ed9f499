"""`--json` of every command: one document on stdout whatever happens, and exit codes 0, 1 and 2."""

from __future__ import annotations

import re
import shutil

import pytest
from cli_calls import Terminal
from tracking_stores import copied_store

from regplug.cli.app import COMMANDS

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
    "compare": ("digits/linear", "--metric", "valid/accuracy", "--out", "compared.html"),
    "plugins list": (),
    "plugins show": ("dropout",),
    "plugins doctor": (),
    "plugins new": ("my-regs", "--kind", "activation"),
    "plugins check": ("my-regs", "--plugin", "my-regs/src/my_regs"),
    "data show": ("rows.csv",),
    "runs list": (),
    "runs show": ("made",),
    "runs clean": (),
    "runs sync": (),
    "plot activations": ("gelu",),
    "export": ("made", "--format", "onnx", "--out", "again"),
    "verify": ("bundle",),
    "predict": ("bundle", "bundle/sample_input.npz"),
    "inspect": ("bundle",),
    "runs delete": ("made", "--yes"),
}
"""Command -> arguments that are right, beside a run `made` with a bundle. Not: `ui` and `serve`, which do not end;
`lab`, whose studies take minutes; and `runs resume`, which needs a run that was interrupted."""


@pytest.fixture(scope="module")
def folder(tmp_path_factory):
    """A folder with a store."""
    made = tmp_path_factory.mktemp("json")
    copied_store(made)
    (made / "rows.csv").write_text("a,b\n1,x\n2,y\n3,x\n")
    return made


@pytest.fixture
def terminal(folder, capsys, monkeypatch):
    monkeypatch.chdir(folder)
    monkeypatch.delenv("MLFLOW_TRACKING_URI", raising=False)
    return Terminal(capsys)


def test_the_table_has_every_command(terminal):
    leaves = []
    for command in COMMANDS:
        under = re.findall(r"^  (\w+)  ", terminal(command, "--help").out.partition("Commands:")[2], re.MULTILINE)
        leaves += [f"{command} {leaf}" for leaf in under] or [command]
    assert leaves == [*WRONG]
    assert {*WRONG} - {*RIGHT} == {"run", "ui", "serve", "lab run", "lab page", "runs resume"}


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


@pytest.mark.slow
def test_what_is_done_is_one_document_and_exit_code_zero(terminal, folder):
    made = terminal("run", *SMALL, "--name", "made", "--format", "onnx", "--out", "bundle", "--json")
    assert (made.code, made.document["status"]) == (0, "FINISHED"), made.err
    for command, args in RIGHT.items():
        said = terminal(*command.split(), *args, "--json")
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
