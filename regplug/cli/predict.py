"""`regplug predict`: imports neither torch nor mlflow, unless another format than ONNX is asked for."""

from __future__ import annotations

import csv
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from regplug.bundles.layout import require_bundle
from regplug.cli.options import Command, Json, new_app
from regplug.cli.output import emit, note, say, say_table
from regplug.errors import RequestError

if TYPE_CHECKING:
    from regplug.bundles.predict import Prediction, Predictions

app = new_app()
_MOST_SHOWN = 6
"""Numbers of a named output in the table; --json and --out have all."""


@app.command(cls=Command)
def predict(
    bundle: Annotated[str, typer.Argument(help="Folder of the bundle.")],
    inputs: Annotated[
        list[str],
        typer.Argument(
            help="Files with raw values: .npy, .npz, .csv or images, .json for named inputs; or folders of them."
        ),
    ],
    top: Annotated[int, typer.Option("--top", help="Number of most probable classes to print.")] = 3,
    passes: Annotated[
        int | None,
        typer.Option(
            "--passes",
            metavar="<integer>",
            help="Number of random passes of a stochastic bundle; prints their mean and spread.  [default: 20]",
            show_default=False,
        ),
    ] = None,
    file_format: Annotated[
        str | None,
        typer.Option(
            "--format",
            metavar="<name>",
            help="Predict with the bundle's file of this format, in its own runtime.  [default: onnx]",
            show_default=False,
        ),
    ] = None,
    out: Annotated[str | None, typer.Option("--out", help="Write a CSV file instead of printing a table.")] = None,
    json: Json = False,
) -> None:
    """Predict with a bundle: labels and probabilities, or values. Inputs are raw; the graph normalises them."""
    require_bundle(Path(bundle))
    from regplug.bundles.predict import predict as answer

    answers = answer(Path(bundle), [Path(path) for path in inputs], top, passes, file_format)
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
    heading, spreads = _headings(answers), [_more(row) for row in answers.rows]
    if answers.task == "classification":
        rows = [
            (row.source, str(row.row), row.label, f"{row.top[0][1]:.4f}", *spread, _others(row))
            for row, spread in zip(answers.rows, spreads, strict=True)
        ]
        say_table(("input", ">row", "label", ">probability", *heading, "then"), rows, folds="then")
    elif answers.task is None:
        outputs = [(row.source, str(row.row), _output_words(row)) for row in answers.rows]
        say_table(("input", ">row", "outputs"), outputs, folds="outputs")
    elif answers.task == "multilabel":
        labels = [
            (row.source, str(row.row), ", ".join(row.present), _probabilities(row), *spread)
            for row, spread in zip(answers.rows, spreads, strict=True)
        ]
        say_table(("input", ">row", "labels", "probabilities", *heading), labels, folds="probabilities")
    else:
        values = [
            (row.source, str(row.row), _numbers(row.values), *spread)
            for row, spread in zip(answers.rows, spreads, strict=True)
        ]
        say_table(("input", ">row", "values", *heading), values, folds="values")


def _headings(answers: Predictions) -> list[str]:
    """Returns the headings of the columns that only a stochastic or a conformal bundle has."""
    if answers.coverage:
        return [f"{100 * answers.coverage:g} % {'intervals' if answers.task == 'regression' else 'set'}"]
    return [">spread"] if answers.passes else []


def _more(row: Prediction) -> list[str]:
    if row.prediction_set is not None:
        return [", ".join(row.prediction_set) or "no class"]
    if row.intervals:
        return [", ".join(f"{low:.6g} to {high:.6g}" for low, high in row.intervals)]
    if not row.spread:
        return []
    from regplug.cli.summary import format_figure

    return [format_figure(row.spread[0]) if row.top else _numbers(row.spread)]


def _numbers(values: Sequence[float]) -> str:
    return " ".join(f"{value:.6g}" for value in values)


def _probabilities(row: Prediction) -> str:
    return ", ".join(f"{label} {share:.4f}" for label, share in row.labels)


def _output_words(row: Prediction) -> str:
    """Returns the named outputs of a row; of a long one only its beginning."""
    shown = {name: list(_numbers_in(value)) for name, value in row.outputs.items()}
    more = {name: f" ... ({len(numbers)} numbers)" for name, numbers in shown.items() if len(numbers) > _MOST_SHOWN}
    return "; ".join(
        f"{name}: {_numbers(numbers[:_MOST_SHOWN])}{more.get(name, '')}" for name, numbers in shown.items()
    )


def _numbers_in(value: Any) -> Iterator[float]:
    if not isinstance(value, list):
        yield value
        return
    for item in value:
        yield from _numbers_in(item)


def _others(row: Prediction) -> str:
    return ", ".join(f"{label} {share:.4f}" for label, share in row.top[1:])


def _write(path: Path, answers: Predictions) -> None:
    lines = list(csv_lines(answers))
    try:
        with path.open("w", newline="", encoding="utf-8") as file:
            csv.writer(file).writerows(lines)
    except OSError as error:
        raise RequestError(
            f"{path} cannot be written: {error.strerror}.", hint="Choose another file with --out."
        ) from None


def csv_lines(answers: Predictions) -> Iterator[list[object]]:
    """Yields a heading and one line for each row, with each class or value in its own column."""
    first = answers.rows[0] if answers.rows else None
    spread = ["spread"] if answers.passes else []
    if answers.task == "classification":
        columns = ["label", "probability", *spread]
        more = range(2, 1 + len(first.top if first else ()))
        sets = ["set"] if answers.coverage else []
        more_columns = (*(f"{name}_{rank}" for rank in more for name in columns), *sets)
        heading = [*columns, *more_columns]
    elif answers.task is None:
        heading = []
    elif answers.task == "multilabel":
        names = [name for name, _ in first.labels] if first else []
        heading = ["labels", *(f"{what} of {name}" for what in ("probability", *spread) for name in names)]
    else:
        places = range(1, 1 + len(first.values if first else ()))
        ends = ("low", "high") if answers.coverage else ()
        heading = [f"{name}_{place}" for name in ("value", *spread) for place in places]
        heading += [f"{name}_{place}" for place in places for name in ends]
    yield ["input", "row", *heading, *_output_columns(answers)]
    for row in answers.rows:
        yield [row.source, row.row, *_cells(row)]


def _output_columns(answers: Predictions) -> list[str]:
    """Returns a column for each number of each named output.

    Raises:
        RequestError: The rows have outputs of different sizes.
    """
    widths = [{name: len(list(_numbers_in(value))) for name, value in row.outputs.items()} for row in answers.rows]
    if any(each != widths[0] for each in widths):
        raise RequestError(
            "--out: the rows have outputs of different sizes, which do not fit one table.",
            hint="Use --json, or predict inputs of different sizes separately.",
        )
    return [f"{name}_{place}" for name, width in (widths[0] if widths else {}).items() for place in range(1, 1 + width)]


def _cells(row: Prediction) -> Iterator[object]:
    if row.labels:
        yield ", ".join(row.present)
        yield from (probability for _, probability in row.labels)
        yield from row.spread
    elif not row.top:
        yield from (*row.values, *row.spread, *(end for ends in row.intervals for end in ends))
    for place, pair in enumerate(row.top):
        yield from (*pair, *row.spread[place : place + 1])
    if row.prediction_set is not None:
        yield ", ".join(row.prediction_set)
    for value in row.outputs.values():
        yield from _numbers_in(value)
