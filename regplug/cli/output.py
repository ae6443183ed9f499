"""Where words go: one JSON document or plain text to stdout, everything else to stderr."""

from __future__ import annotations

import contextlib
import json
import math
import sys
from collections.abc import Iterator, Mapping, Sequence
from contextvars import ContextVar
from typing import TYPE_CHECKING, Any, TextIO

import typer

if TYPE_CHECKING:
    from rich.console import Console

_document_stream: ContextVar[TextIO | None] = ContextVar("document_stream", default=None)

_UNBOUNDED = 100_000
"""Width of what no terminal shows: a table in a pipe is never wrapped."""


@contextlib.contextmanager
def stdout_for_document(is_wanted: bool) -> Iterator[None]:
    """Keeps stdout for `emit` where that is wanted; what anybody else prints goes to stderr."""
    if not is_wanted:
        yield
        return
    token = _document_stream.set(sys.stdout)
    try:
        with contextlib.redirect_stdout(sys.stderr):
            yield
    finally:
        _document_stream.reset(token)


def emit(document: Mapping[str, Any]) -> None:
    """Writes the command's one JSON document; what is not finite becomes null."""
    text = json.dumps(_finite(document), indent=2, ensure_ascii=False, allow_nan=False, default=str)
    stream = _document_stream.get() or sys.stdout
    stream.write(f"{text}\n")
    stream.flush()


def _finite(value: Any) -> Any:
    if isinstance(value, Mapping):
        return {str(key): _finite(item) for key, item in value.items()}
    if isinstance(value, list | tuple):
        return [_finite(item) for item in value]
    return None if isinstance(value, float) and not math.isfinite(value) else value


def say(*lines: str) -> None:
    """Writes lines to stdout as they are, so that paths and commands can be copied."""
    for line in lines:
        typer.echo(line)


def note(*lines: str) -> None:
    """Writes lines to stderr as they are."""
    for line in lines:
        typer.echo(line, err=True)


def warn(messages: Sequence[str]) -> None:
    """Writes regplug's own warnings to stderr."""
    note(*(f"warning: {message}" for message in messages))


def console() -> Console:
    """Returns a rich console on stdout: as wide as the terminal, and without end in a pipe."""
    from rich.console import Console

    width = None if sys.stdout.isatty() else _UNBOUNDED
    return Console(width=width, highlight=False, soft_wrap=False)


def say_table(columns: Sequence[str], rows: Sequence[Sequence[str]], *, title: str = "", folds: str = "") -> None:
    """Writes a table to stdout.

    Args:
        columns: Headings; one that begins with `>` is set to the right.
        rows: Texts.
        title: A line above it.
        folds: The column that wraps where the terminal is narrow; the others keep their width.
    """
    from rich import box
    from rich.table import Table
    from rich.text import Text

    table = Table(box=box.SIMPLE_HEAD, pad_edge=False, show_edge=False, header_style="bold")
    for column in columns:
        name = column.removeprefix(">")
        is_right = column.startswith(">")
        table.add_column(name, justify="right" if is_right else "left", no_wrap=name != folds, overflow="fold")
    for row in rows:
        table.add_row(*map(Text, row))
    if title:
        say(title)
    console().print(table)
