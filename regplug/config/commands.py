"""The command that repeats a run."""

from __future__ import annotations

import dataclasses
import shlex

from regplug.config.run_config import RunConfig


def command_of(config: RunConfig) -> str:
    """Returns the command that repeats a run, with every field that is not at its default."""
    words = ["regplug", "run"]
    for field in dataclasses.fields(RunConfig):
        value = getattr(config, field.name)
        if value == field.default or field.name == "out":
            continue
        flag = f"--{field.name.replace('_', '-')}"
        if field.name == "export":
            words.append("--no-export")
        elif isinstance(value, bool):
            words += ["--set", f"{field.name}={str(value).lower()}"]
        else:
            for each in value if isinstance(value, tuple) else (value,):
                words += [flag, str(each)]
    return shlex.join(words)
