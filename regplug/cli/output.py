"""Prints results: one JSON document or text on stdout, everything else on stderr."""

from __future__ import annotations

import contextlib
import itertools
import json
import math
import os
import re
import shutil
import sys
from collections.abc import Iterator, Mapping, Sequence
from contextvars import ContextVar
from typing import Any, TextIO

import typer

_document_stream: ContextVar[TextIO | None] = ContextVar("document_stream", default=None)

_GAP = "  "
_PIECES = re.compile(r"(?<=[\s:,=+])")
"""Where a cell may be wrapped."""

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
    """Writes lines to stderr, in a terminal wrapped between words."""
    width = shutil.get_terminal_size().columns if sys.stderr.isatty() else None
    for line in lines:
        for part in line.split("\n"):
            typer.echo(wrapped(part, width), err=True)


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
    width = width_of_terminal()
    heading, *lines = table_lines(columns, rows, folds=folds, width=width)
    say(bold(heading), *lines)


def bold(text: str) -> str:
    """Returns a heading in bold letters, unless `NO_COLOR` asks for plain text; pipes get plain text too."""
    return text if os.environ.get("NO_COLOR") else typer.style(text, bold=True)


def width_of_terminal() -> int | None:
    """Returns the number of columns of the terminal; `None` in a pipe, where lines are not wrapped."""
    return shutil.get_terminal_size().columns if sys.stdout.isatty() or "COLUMNS" in os.environ else None


def wrapped(line: str, width: int | None) -> str:
    """Returns a line wrapped between words; the lines that follow keep its indentation.

    Args:
        line: The line.
        width: Most characters of a line; `None` leaves it as it is.
    """
    if width is None or len(line) <= width:
        return line
    import textwrap

    indent = " " * (len(line) - len(line.lstrip()))
    return textwrap.fill(
        line.strip(),
        width=width,
        initial_indent=indent,
        subsequent_indent=indent,
        break_long_words=False,
        break_on_hyphens=False,
    )


def say_facts(*lines: str) -> None:
    """Writes lines to stdout, in a terminal wrapped between words."""
    say(*(wrapped(line, width_of_terminal()) for line in lines))


def say_prose(*sentences: str, bullet: str = "") -> None:
    """Writes sentences to stdout, each from a new line, wrapped between words at the width of the terminal.

    Args:
        sentences: The sentences.
        bullet: Put before each of them, such as `- `.
    """
    import textwrap

    width = width_of_terminal()
    for sentence in sentences:
        if width is None:
            say(f"{bullet}{sentence}")
            continue
        wrapper = textwrap.TextWrapper(
            width=width,
            initial_indent=bullet,
            subsequent_indent=" " * len(bullet),
            break_long_words=False,
            break_on_hyphens=False,
        )
        say(wrapper.fill(sentence))


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
        longest = max(len(piece) for row in rows for piece in _PIECES.split(row[place]))
        widths[place] = min(widths[place], max(width - others, _NARROWEST, longest))
        _shrink(widths, names, rows, width, without=place)
    aligns = [">" if column.startswith(">") else "<" for column in columns]
    body = [line for row in rows for line in _folded(row, widths)]
    grid = [names, ["-" * one for one in widths], *body]
    return [_GAP.join(f"{c:{a}{w}}" for c, a, w in zip(row, aligns, widths, strict=True)).rstrip() for row in grid]


def _shrink(
    widths: list[int], names: Sequence[str], rows: Sequence[Sequence[str]], width: int, *, without: int
) -> None:
    """Makes the widest of the other columns narrower, as far as no word is broken, until the table fits."""
    for place in sorted(range(len(widths)), key=lambda each: -widths[each]):
        excess = sum(widths) + len(_GAP) * (len(widths) - 1) - width
        if excess > 0 and place != without:
            longest = max(len(piece.strip()) for row in rows for piece in _PIECES.split(row[place]))
            longest = max(longest, len(names[place]))
            widths[place] = max(widths[place] - excess, min(longest, widths[place]), 1)


def _folded(row: Sequence[str], widths: Sequence[int]) -> Iterator[tuple[str, ...]]:
    """Yields a row as one or several lines; only cells wider than their column are wrapped."""
    cells = [[cell] if len(cell) <= width else _wrap(cell, width) for cell, width in zip(row, widths, strict=True)]
    yield from itertools.zip_longest(*cells, fillvalue="")


def _wrap(text: str, width: int) -> list[str]:
    """Wraps a text between words, or after the marks of a component such as `l2:strength=0.1+dropout`."""
    lines = [""]
    for piece in _PIECES.split(text):
        if len(lines[-1] + piece.rstrip()) > width and lines[-1]:
            lines.append("")
        lines[-1] += piece if lines[-1] else piece.lstrip()
    return [line.rstrip() for line in lines]
