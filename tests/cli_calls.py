"""Calling the command line in this process, as a user would type it."""

from __future__ import annotations

import json
import os
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest

from regplug.cli.app import invoke


@dataclass(frozen=True)
class Said:
    """What a command answered."""

    code: int
    out: str
    err: str

    @property
    def document(self) -> Any:
        """The one JSON document that stdout must be."""
        return json.loads(self.out, parse_constant=lambda name: pytest.fail(f"{name} is no JSON"))


class Terminal:
    """Types commands and reads what they say."""

    def __init__(self, capsys: pytest.CaptureFixture[str]) -> None:
        self._capsys = capsys

    def __call__(self, *args: object) -> Said:
        self._capsys.readouterr()
        code = invoke([str(arg) for arg in args])
        out, err = self._capsys.readouterr()
        return Said(code, out, err)


@pytest.fixture
def terminal(capsys: pytest.CaptureFixture[str]) -> Terminal:
    """A terminal in the current folder."""
    return Terminal(capsys)


def terminal_in(folder: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch) -> Terminal:
    """A terminal in a folder, without a store of the user's own."""
    monkeypatch.chdir(folder)
    monkeypatch.delenv("MLFLOW_TRACKING_URI", raising=False)
    return Terminal(capsys)


def environment(**more: str) -> dict[str, str]:
    """The user's variables, without a store of their own, and these."""
    return {key: value for key, value in os.environ.items() if not key.startswith("MLFLOW_")} | more
