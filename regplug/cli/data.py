"""`regplug data`: shows the columns of a table."""

from __future__ import annotations

import shlex
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from regplug.cli.options import Command, Json, new_app
from regplug.cli.output import emit, say, say_table
from regplug.errors import DataError
from regplug.tables.options import join_targets

if TYPE_CHECKING:
    from regplug.tables.guessing import Guess
    from regplug.tables.kinds import Found

app = new_app()


@app.callback()
def data() -> None:
    """Show what is in a table."""


@app.command("show", cls=Command)
def show(
    file: Annotated[str, typer.Argument(help="A CSV, TSV or Parquet file.")],
    delimiter: Annotated[
        str, typer.Option("--delimiter", help="auto, comma, semicolon, tab, space or bar.", metavar="<name>")
    ] = "auto",
    json: Json = False,
) -> None:
    """Show the columns of a table: numbers, categories, dates, constants, gaps and likely ids."""
    from regplug.errors import did_you_mean
    from regplug.tables.delimiters import DELIMITERS
    from regplug.tables.guessing import guess_target
    from regplug.tables.kinds import find_kinds
    from regplug.tables.reading import read_table

    if delimiter not in ("auto", *DELIMITERS):
        raise DataError(f"--delimiter {delimiter} is unknown.", hint=did_you_mean(delimiter, ("auto", *DELIMITERS)))
    path = Path(file).expanduser()
    if path.is_dir():
        raise DataError(f"{path} is a folder.", hint="Name a file in it.")
    table = read_table(path, delimiter)
    found = list(find_kinds(table).values())
    guess = guess_target(found, path.stem)
    if json:
        columns = [_document(one) for one in found]
        emit({"file": str(path), "rows": len(table), "columns": columns, "possible_targets": list(guess.names)})
        return
    say(f"{path}: {len(table):,} rows, {len(found)} columns")
    say_table(("column", "kind", ">empty", "holds"), [_row(one) for one in found], folds="holds")
    say(*_advice(found), *_next_step(guess, path))


def _row(one: Found) -> tuple[str, ...]:
    infinite = f"; {one.infinities} infinite" if one.infinities else ""
    return one.name, one.kind, str(one.gaps or ""), one.describe() + infinite


def _document(one: Found) -> dict[str, Any]:
    known = {"name": one.name, "kind": one.kind, "missing": one.gaps, "infinite": one.infinities}
    return {**known, "likely_id": one.kind == "id" or one.counts_rows, "holds": one.describe()}


def _advice(found: list[Found]) -> list[str]:
    refused = [one.name for one in found if one.kind in ("date", "empty", "other")]
    left_out = [one.name for one in found if one.kind in ("constant", "id")]
    counting = [one.name for one in found if one.counts_rows]
    lines = []
    if refused:
        lines.append(f"Cannot be inputs: leave them out with drop=[{','.join(refused)}], or write dates as numbers.")
    if left_out:
        lines.append(f"Left out of the inputs: {', '.join(left_out)}.")
    if counting:
        lines.append(f"Likely ids, which are inputs unless you leave them out: drop=[{','.join(counting)}].")
    return lines


def _next_step(guess: Guess, path: Path) -> list[str]:
    """The command that trains, with a target if a column's name tells it."""
    target = shlex.quote(join_targets(guess.names)) if guess.is_likely else "NAME"
    command = f"regplug run --dataset {shlex.quote(str(path))} --target {target}"
    if not guess.names:
        return [f"Name the column to predict: {command}"]
    names = " or ".join(guess.names)
    if guess.is_likely:
        return [f"Likely target: {names}, {guess.reason}. If it is: {command}"]
    return [f"Name the column to predict, perhaps {names}, {guess.reason}: {command}"]
