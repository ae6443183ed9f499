"""Options that several commands share, and the classes of commands."""

from __future__ import annotations

from typing import Annotated, Any

import typer
from typer.core import TyperCommand, TyperGroup

from regplug.cli.examples import EXAMPLES
from regplug.cli.panels import MAIN, panel_of, place_of
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


_MOST_IN_ONE_SECTION = 20


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

    def format_options(self, ctx: Any, formatter: Any) -> None:
        """Writes the arguments and options into `--help`; a command with many options has a section for each topic."""
        params = [(param, param.get_help_record(ctx)) for param in self.get_params(ctx)]
        shown = [(param, record) for param, record in params if record is not None]
        are_many = len(shown) > _MOST_IN_ONE_SECTION
        sections: dict[str, list[Any]] = {}
        for param, record in sorted(shown, key=lambda each: _place(each[0]) if are_many else (0, 0)):
            is_argument = param.param_type_name == "argument"
            title = "Arguments" if is_argument else panel_of(param.name) if are_many else MAIN
            sections.setdefault(title, []).append(record)
        for title, records in sections.items():
            with formatter.section(title):
                formatter.write_dl(records)
        if isinstance(self, TyperGroup):
            self.format_commands(ctx, formatter)

    def format_epilog(self, ctx: Any, formatter: Any) -> None:
        """Writes the example into `--help`, on one line, so that it can be copied."""
        super().format_epilog(ctx, formatter)  # type: ignore[misc] # mixed into a command or a group
        example = EXAMPLES.get(ctx.command_path.partition(" ")[2])
        if example is not None:
            with formatter.section("Example"):
                formatter.write(f"{'':>{formatter.current_indent}}{example}\n")


def _place(param: Any) -> tuple[int, int]:
    return (-1, 0) if param.param_type_name == "argument" else place_of(param.name)


class Command(AsGiven, TyperCommand):
    """A command."""


class PluginCommand(Command):
    """A command of a plugin, for which an empty argument may have a meaning."""

    refuses_empty = False


class Group(AsGiven, TyperGroup):
    """A group of commands."""

    def format_commands(self, ctx: Any, formatter: Any) -> None:
        """Writes the first sentence of each command into `--help`, where typer would cut it off."""
        commands = {name: self.get_command(ctx, name) for name in self.list_commands(ctx)}
        rows = [(name, (each.help or "").partition("\n\n")[0]) for name, each in commands.items() if each is not None]
        with formatter.section("Commands"):
            formatter.write_dl(rows)


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
    bounds = _bounds_in_words(getattr(param, "min", None), getattr(param, "max", None))
    if bounds:
        metavar = metavar or f"<{getattr(_annotation(param), '__name__', 'number')}>"
        param._get_number_range_help_str = lambda: bounds
    if param.param_type_name == "option" and metavar:
        param.display_type_rich = lambda **_: metavar


def _bounds_in_words(least: float | None, most: float | None) -> str:
    if least is not None and most is not None:
        return f"between {least:g} and {most:g}"
    return f"at least {least:g}" if least is not None else f"at most {most:g}" if most is not None else ""


def _annotation(param: Any) -> Any:
    return getattr(getattr(param, "type_descriptor", None), "annotation", None)
