"""The examples of docs/data.md run."""

import shlex

import numpy as np
import pandas as pd
import pytest
from cli_calls import Terminal
from made_docs import DOCS, blocks
from runs import standing_in
from tracking_stores import copied_store

import regplug

PAGE = (DOCS / "data.md").read_text(encoding="utf-8")
COMMANDS = [shlex.split(line)[1:] for line in "".join(blocks(PAGE, "console")).splitlines()]


@pytest.fixture
def folder(tmp_path):
    """The working folder, with the table of the page."""
    random = np.random.default_rng(0)
    days = {"day": range(200), "patient": np.arange(200) // 4, "size": random.uniform(1, 2, 200)}
    labels = {name: random.integers(0, 2, 200) for name in ("cough", "fever", "ill")}
    with standing_in(tmp_path):
        copied_store(tmp_path)
        pd.DataFrame({**days, **labels}).to_csv("patients.csv", index=False)
        yield tmp_path


@pytest.mark.slow
def test_the_python_of_the_page_runs(folder, monkeypatch):
    quick = {"model": "linear", "epochs": 1, "export": False}
    for name, more in (("run", {}), ("cross_validate", {"refit": False})):
        real = getattr(regplug, name)
        monkeypatch.setattr(regplug, name, lambda _real=real, _more=more, **given: _real(**quick, **_more, **given))
    exec("\n".join(blocks(PAGE, "python")), {})  # noqa: S102 - the page is ours


def test_the_commands_of_the_page_fit_the_table(folder, capsys):
    terminal = Terminal(capsys)
    for command in COMMANDS:
        if command[0] == "predict":
            continue
        said = terminal(*(["plan", *command[1:]] if command[0] == "run" else command))
        assert said.code == 0, said.err
    assert [command[0] for command in COMMANDS].count("run") == 4
