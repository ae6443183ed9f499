"""Calling the command line in this process, as a user would type it."""

from __future__ import annotations

import json
from dataclasses import dataclass
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
