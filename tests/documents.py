"""What a document tells a reader to type: files and commands.

A block opened with three backticks and `python file=NAME` is a file; one opened with `console in=FOLDER` holds the
commands, each behind a dollar sign.
"""

from __future__ import annotations

import re
from dataclasses import dataclass
from pathlib import Path

_BLOCK = re.compile(r"^```(\w+) (file|in)=(\S+)\n(.*?)^```$", re.MULTILINE | re.DOTALL)


@dataclass(frozen=True)
class Typed:
    """Files by name, and commands with the folder in which they are typed, in the order of the document."""

    files: dict[str, str]
    commands: list[tuple[str, str]]


def read_typed(document: Path) -> Typed:
    files, commands = {}, []
    for _, what, name, text in _BLOCK.findall(document.read_text(encoding="utf-8")):
        if what == "file":
            assert name not in files, f"{name} stands twice in {document.name}"
            files[name] = text
        else:
            commands += [(name, line.removeprefix("$ ")) for line in text.splitlines() if line.startswith("$ ")]
    return Typed(files, commands)
