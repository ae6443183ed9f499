"""`regplug predict`: imports neither torch nor mlflow."""

from __future__ import annotations

import csv
from collections.abc import Iterator
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from regplug.cli.options import Command, Json, new_app
from regplug.cli.output import emit, note, say, say_table
from regplug.errors import RequestError

if TYPE_CHECKING:
    from regplug.bundles.predict import Prediction, Predictions

app = new_app()


@app.command(cls=Command)
def predict(
    bundle: Annotated[str, typer.Argument(help="Folder of the bundle.")],
    inputs: Annotated[list[str], typer.Argument(help=".npy, .npz, .csv or image files with raw values.")],
    top: Annotated[int, typer.Option("--top", help="How many classes an answer names.")] = 3,
    out: Annotated[str | None, typer.Option("--out", help="Write a CSV file in the place of a table.")] = None,
    json: Json = False,
) -> None:
    """Answer with a bundle: labels and probabilities, or values. Inputs are raw: normalisation is in the graph."""
    from regplug.bundles.predict import predict as answer

    answers = answer(Path(bundle), [Path(path) for path in inputs], top)
    note(*(f"note: {line}" for line in answers.notes))
    if out is not None:
        _write(Path(out), answers)
    if json:
        emit({**answers.as_json(), **({"out": out} if out else {})})
    elif out is not None:
        say(f"{len(answers.rows)} rows written to {out}")
    else:
        _tell(answers)


def _tell(answers: Predictions) -> None:
    if answers.task == "classification":
        rows = [(row.source, str(row.row), row.label, f"{row.top[0][1]:.4f}", _others(row)) for row in answers.rows]
        say_table(("input", ">row", "label", ">probability", "then"), rows, folds="then")
    else:
        values = [(row.source, str(row.row), " ".join(f"{value:.6g}" for value in row.values)) for row in answers.rows]
        say_table(("input", ">row", "values"), values, folds="values")


def _others(row: Prediction) -> str:
    return ", ".join(f"{label} {share:.4f}" for label, share in row.top[1:])


def _write(path: Path, answers: Predictions) -> None:
    lines = list(csv_lines(answers))
    try:
        with path.open("w", newline="", encoding="utf-8") as file:
            csv.writer(file).writerows(lines)
    except OSError as error:
        raise RequestError(
            f"{path} cannot be written: {error.strerror}.", hint="Name another file with --out."
        ) from None


def csv_lines(answers: Predictions) -> Iterator[list[object]]:
    """Yields a heading and one line for each row; further classes and values in columns of their own."""
    first = answers.rows[0] if answers.rows else None
    if answers.task == "classification":
        more = range(2, 1 + len(first.top if first else ()))
        further = [f"{name}_{rank}" for rank in more for name in ("label", "probability")]
        yield ["input", "row", "label", "probability", *further]
    else:
        yield ["input", "row", *(f"value_{place}" for place in range(1, 1 + len(first.values if first else ())))]
    for row in answers.rows:
        yield [row.source, row.row, *(part for pair in row.top for part in pair), *row.values]
