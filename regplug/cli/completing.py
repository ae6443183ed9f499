"""Shell completion: of commands, options, and the names and parameters of components. Imports no torch."""

from __future__ import annotations

import io
import os
import sys
from collections.abc import Callable, Iterator
from contextlib import redirect_stdout
from typing import TYPE_CHECKING, Any

from typer.main import get_command

if TYPE_CHECKING:
    import typer

    from regplug.registry import Registry

_VARIABLE = "_REGPLUG_COMPLETE"
_BREAKS = ":="
"""Characters at which bash starts a new word, although they are part of ours."""


def is_completing() -> bool:
    """Returns whether a shell asks for completions."""
    return _VARIABLE in os.environ


def complete(app: typer.Typer) -> int:
    """Answers a shell that asks for completions, and returns the exit code."""
    is_bash = os.environ[_VARIABLE] == "complete_bash" and "COMP_WORDS" in os.environ
    word = _join_words() if is_bash else ""
    answer, code = io.StringIO(), 0
    with redirect_stdout(answer):
        try:
            get_command(app)._main_shell_completion(ctx_args={}, prog_name="regplug", complete_var=_VARIABLE)
        except SystemExit as ended:
            code = ended.code if isinstance(ended.code, int) else 1
    kept = len(_broken_off(word))
    sys.stdout.write("\n".join(line[kept:] for line in answer.getvalue().split("\n")) if kept else answer.getvalue())
    return code


def _join_words() -> str:
    """Joins the words that bash separated at `:` and `=`, in its variables, and returns the last of them."""
    words = os.environ["COMP_WORDS"].split("\n")[: int(os.environ["COMP_CWORD"]) + 1]
    joined: list[str] = []
    for word in words:
        is_break = bool(word) and set(word) <= set(_BREAKS)
        if joined and (is_break or joined[-1][-1:] in (*_BREAKS,)):
            joined[-1] += word
        else:
            joined.append(word)
    os.environ |= {"COMP_WORDS": "\n".join(joined), "COMP_CWORD": str(len(joined) - 1)}
    return joined[-1]


def _broken_off(word: str) -> str:
    """Returns the part of a value that bash keeps: up to the last `:` or `=`."""
    value = word.partition("=")[2] if word.startswith("-") else word
    return value[: max(map(value.rfind, _BREAKS)) + 1]


def components_of(kind: str) -> Callable[[str], list[str]]:
    """Returns what completes a component of a kind: its name, then its parameters with their defaults."""

    def suggest(incomplete: str) -> list[str]:
        from regplug.registry import default_registry

        registry = default_registry()
        before, plus, word = incomplete.rpartition("+")
        found = _parameters(registry, kind, word) if ":" in word else _names(registry, kind)
        return [f"{before}{plus}{each}" for each in found if each.startswith(word)]

    return suggest


def any_component(incomplete: str) -> list[str]:
    """Completes the name of a component of any kind."""
    from regplug.registry import default_registry

    return sorted({name for name in _names(default_registry(), None) if name.startswith(incomplete)})


def kinds(incomplete: str) -> list[str]:
    """Completes a kind of components."""
    from regplug.api import KINDS

    return [kind for kind in KINDS if kind.startswith(incomplete)]


def _names(registry: Registry, kind: str | None) -> Iterator[str]:
    return (registry.spelling(one) for one in registry.components(kind))


def _parameters(registry: Registry, kind: str, word: str) -> Iterator[str]:
    from regplug.config.literals import write_value
    from regplug.config.params import describe_params

    name, _, text = word.partition(":")
    written = text.rpartition(",")[0]
    start = word[: len(name) + 1 + len(written)] + ("," if written else "")
    for one in registry.components(kind):
        if registry.spelling(one) != name:
            continue
        for info in describe_params(one.component.params):
            if f"{info.name}=" not in text.rpartition(",")[0]:
                value: Any = info.needed.example if info.needed else _written(info.default, write_value)
                yield f"{start}{info.name}={value}"


def _written(default: Any, write: Callable[[Any], str]) -> str:
    return write(list(default) if isinstance(default, tuple) else default)
