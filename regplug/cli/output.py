"""Prints results: one JSON document or text on stdout, everything else on stderr."""

from __future__ import annotations

import contextlib
import itertools
import json
import math
import os
import shutil
import sys
from collections.abc import Iterator, Mapping, Sequence
from contextvars import ContextVar
from typing import Any, TextIO

import typer

_document_stream: ContextVar[TextIO | None] = ContextVar("document_stream", default=None)

_GAP = "  "
_NARROWEST = 12
"""Minimum width of the wrapped column on a narrow terminal."""


@contextlib.contextmanager
def stdout_for_document(is_wanted: bool) -> Iterator[None]:
    """Reserves stdout for `emit` if wanted; everything else that is printed goes to stderr."""
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
    """Writes the command's one JSON document; NaN and infinity become null."""
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
    """Writes lines to stdout without wrapping, so that paths and commands can be copied."""
    for line in lines:
        typer.echo(line)


def note(*lines: str) -> None:
    """Writes lines to stderr without wrapping."""
    for line in lines:
        typer.echo(line, err=True)


def warn(messages: Sequence[str]) -> None:
    """Writes regplug's own warnings to stderr."""
    note(*(f"warning: {message}" for message in messages))


def say_table(columns: Sequence[str], rows: Sequence[Sequence[str]], *, folds: str = "") -> None:
    """Writes a table to stdout, as wide as the terminal; in a pipe every row is one line.

    Args:
        columns: Headings; one that starts with `>` is right-aligned.
        rows: The cells.
        folds: The column that is wrapped on a narrow terminal; the others keep their width.
    """
    width = shutil.get_terminal_size().columns if sys.stdout.isatty() or "COLUMNS" in os.environ else None
    heading, *lines = table_lines(columns, rows, folds=folds, width=width)
    say(typer.style(heading, bold=True), *lines)


def table_lines(
    columns: Sequence[str], rows: Sequence[Sequence[str]], *, folds: str = "", width: int | None = None
) -> list[str]:
    """Returns a table as lines, the headings first.

    >>> table_lines(("name", ">figure"), [("a", "1"), ("b", "10")])
    ['name  figure', '----  ------', 'a          1', 'b         10']
    """
    names = [column.removeprefix(">") for column in columns]
    widths = [max(map(len, cells)) for cells in zip(names, *rows, strict=True)]
    if width is not None and folds:
        place = names.index(folds)
        others = sum(widths) - widths[place] + len(_GAP) * (len(names) - 1)
        widths[place] = min(widths[place], max(width - others, _NARROWEST))
    aligns = [">" if column.startswith(">") else "<" for column in columns]
    body = [line for row in rows for line in _folded(row, widths)]
    grid = [names, ["-" * one for one in widths], *body]
    return [_GAP.join(f"{c:{a}{w}}" for c, a, w in zip(row, aligns, widths, strict=True)).rstrip() for row in grid]


def _folded(row: Sequence[str], widths: Sequence[int]) -> Iterator[tuple[str, ...]]:
    """Yields a row as one or several lines; only cells wider than their column are wrapped."""
    cells = [[cell] if len(cell) <= width else _wrap(cell, width) for cell, width in zip(row, widths, strict=True)]
    yield from itertools.zip_longest(*cells, fillvalue="")


def _wrap(text: str, width: int) -> list[str]:
    import textwrap

    return textwrap.wrap(text, width) or [""]
