"""Options that several commands share, and the classes of commands."""

from __future__ import annotations

from typing import Annotated, Any

import typer
from typer.core import TyperCommand, TyperGroup

from regplug.errors import RequestError

Json = Annotated[bool, typer.Option("--json", help="Print one JSON document to stdout.")]
Disable = Annotated[
    list[str] | None,
    typer.Option(
        "--disable",
        metavar="<plugin>",
        help="Do not load this plugin or distribution; repeats.",
        show_default=False,
    ),
]
Plugin = Annotated[
    list[str] | None,
    typer.Option(
        "--plugin",
        metavar="<path>",
        help="Also load this file, folder, module or distribution; repeats.",
        show_default=False,
    ),
]
TrackingUri = Annotated[
    str | None,
    typer.Option(
        "--tracking-uri",
        metavar="<uri>",
        help="Address of the MLflow store.  [default: MLFLOW_TRACKING_URI, else mlruns/mlflow.db]",
        show_default=False,
    ),
]


def new_app() -> typer.Typer:
    """Returns an application for one command or a group of them."""
    return typer.Typer(cls=Group, add_completion=False, rich_markup_mode=None)


class AsGiven:
    """Passes strings, defaults and flags through unchecked, and writes readable metavars into `--help`.

    typer checks every value with pydantic, whose import alone would take a third of the time of `predict`, and shows
    an option's Python type, such as `<list[str]>`. Values that are not strings are checked as usual.
    """

    refuses_empty = True
    """Whether an empty argument is refused."""

    def get_params(self, ctx: Any) -> list[Any]:
        """Returns typer's parameters; changes them on first use."""
        params: list[Any] = super().get_params(ctx)  # type: ignore[misc] # mixed into a command or a group
        for param in params:
            if "process_value" not in vars(param):
                _take_as_given(param, refuses_empty=self.refuses_empty)
                _tell_metavar(param)
        return params


class Command(AsGiven, TyperCommand):
    """A command."""


class PluginCommand(Command):
    """A command of a plugin, for which an empty argument may have a meaning."""

    refuses_empty = False


class Group(AsGiven, TyperGroup):
    """A group of commands."""


def _take_as_given(param: Any, *, refuses_empty: bool) -> None:
    checked = param.process_value

    def process_value(ctx: Any, value: Any) -> Any:
        if refuses_empty:
            _refuse_empty(ctx, param, value)
        is_absent = not param.required and param.value_is_missing(value)
        if not is_absent and not _is_right(value, _annotation(param)):
            return checked(ctx, value)
        return value if param.callback is None else param.callback(ctx, param, value)

    param.process_value = process_value


def _refuse_empty(ctx: Any, param: Any, value: Any) -> None:
    """Refuses an empty argument, such as `--out "$PLACE"` with an unset variable.

    Raises:
        RequestError: It is empty or blank.
    """
    texts = value if isinstance(value, list | tuple) else (value,)
    if all(text.strip() for text in texts if isinstance(text, str)):
        return
    source = ctx.get_parameter_source(param.name)
    if source is not None and source.name == "COMMANDLINE":
        is_option = param.param_type_name == "option"
        name = param.opts[0] if is_option else f"The argument {param.name.upper()}"
        hint = "Leave it out, or give it a value." if is_option else f"See `{ctx.command_path} --help`."
        raise RequestError(f"{name} is empty.", hint=hint)


def _is_right(value: Any, annotation: Any) -> bool:
    if annotation == list[str]:
        return bool(value) and all(isinstance(item, str) for item in value)
    return isinstance(annotation, type) and isinstance(value, annotation)


def _tell_metavar(param: Any) -> None:
    metavar = param.metavar or ("<text>" if _annotation(param) in (str, list[str]) else None)
    if param.param_type_name == "option" and metavar:
        param.display_type_rich = lambda **_: metavar


def _annotation(param: Any) -> Any:
    return getattr(getattr(param, "type_descriptor", None), "annotation", None)
