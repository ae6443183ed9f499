"""`regplug data`: shows the columns of a table."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from regplug.cli.options import Command, Json, new_app
from regplug.cli.output import emit, say, say_table
from regplug.errors import DataError

if TYPE_CHECKING:
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
    from regplug.tables.kinds import find_kinds
    from regplug.tables.reading import DELIMITERS, read_table

    if delimiter not in ("auto", *DELIMITERS):
        raise DataError(f"--delimiter {delimiter} is unknown.", hint=did_you_mean(delimiter, ("auto", *DELIMITERS)))
    path = Path(file).expanduser()
    if path.is_dir():
        raise DataError(f"{path} is a folder.", hint="Name a file in it.")
    table = read_table(path, delimiter)
    found = list(find_kinds(table).values())
    if json:
        emit({"file": str(path), "rows": len(table), "columns": [_document(one) for one in found]})
        return
    say(f"{path}: {len(table):,} rows, {len(found)} columns")
    say_table(("column", "kind", ">empty", "holds"), [_row(one) for one in found], folds="holds")
    say(*_advice(found), f"Train on it: regplug run --dataset {path} --target {found[-1].name}")


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
