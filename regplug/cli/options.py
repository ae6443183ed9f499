"""Options that several commands share, and the class of commands."""

from __future__ import annotations

from typing import Annotated, Any

import typer
from typer.core import TyperCommand

Json = Annotated[bool, typer.Option("--json", help="Print one JSON document to stdout.")]
Disable = Annotated[
    list[str] | None,
    typer.Option(
        "--disable",
        metavar="<plugin>",
        help="A plugin or distribution that is not loaded; repeats.",
        show_default=False,
    ),
]
Plugin = Annotated[
    list[str] | None,
    typer.Option(
        "--plugin",
        metavar="<path>",
        help="A file, folder, module or distribution that is loaded besides; repeats.",
        show_default=False,
    ),
]
TrackingUri = Annotated[
    str | None,
    typer.Option(
        "--tracking-uri",
        metavar="<uri>",
        help="MLflow store.  [default: MLFLOW_TRACKING_URI, else mlruns/mlflow.db]",
        show_default=False,
    ),
]


def new_app() -> typer.Typer:
    """Returns an application for one command or a group of them."""
    return typer.Typer(add_completion=False, rich_markup_mode=None)


class Command(TyperCommand):
    """A command that takes texts and defaults as they are, and writes metavars into `--help`.

    typer checks every value with pydantic, and the import of that alone would cost `predict` a third of its time; of
    an option it tells the Python type, such as `<list[str]>`.
    """

    def __init__(self, *args: Any, **settings: Any) -> None:
        super().__init__(*args, **settings)
        for param in self.params:
            _take_as_is(param)
            _tell_metavar(param)


def _take_as_is(param: Any) -> None:
    checked, wanted = param.process_value, getattr(getattr(param, "type_descriptor", None), "annotation", None)

    def process_value(ctx: Any, value: Any) -> Any:
        if not param.required and param.value_is_missing(value):
            return value
        is_right = isinstance(value, wanted) if isinstance(wanted, type) else False
        is_texts = wanted == list[str] and bool(value) and all(isinstance(item, str) for item in value)
        return value if is_right or is_texts else checked(ctx, value)

    param.process_value = process_value


def _tell_metavar(param: Any) -> None:
    if param.param_type_name != "option":
        return
    is_text = getattr(getattr(param, "type_descriptor", None), "annotation", None) in (str, list[str])
    metavar = param.metavar or ("<text>" if is_text else None)
    if metavar:
        param.display_type_rich = lambda **_: metavar
