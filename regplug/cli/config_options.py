"""The flags of a run, generated from the fields of `RunConfig`, so that names, types and defaults always agree."""

from __future__ import annotations

import inspect
import typing
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Annotated, Any, TypeVar

import typer

from regplug.cli.completing import components_of
from regplug.cli.installed import registry_of
from regplug.cli.options import Disable, Json, Plugin, TrackingUri
from regplug.cli.output import note
from regplug.config import KIND_BY_FIELD, REPEATED_FIELDS, RunConfig, Suggest, load_config
from regplug.config.params import ParameterInfo, describe_params
from regplug.config.spec import ComponentSpec

_COMMON: Mapping[str, tuple[Any, Any]] = {
    "config": (
        Annotated[
            Path | None, typer.Option("--config", metavar="<file>", help="A TOML or YAML file with these fields.")
        ],
        None,
    ),
    "set_": (
        Annotated[
            list[str] | None,
            typer.Option("--set", metavar="<a.b=c>", help="A field or parameter: reg.l2.strength=0.1; repeats."),
        ],
        None,
    ),
    "tracking_uri": (TrackingUri, None),
    "disable": (Disable, None),
    "plugin": (Plugin, None),
    "json": (Json, False),
}

_Function = TypeVar("_Function", bound=Callable[..., Any])


def takes_config(command: _Function) -> _Function:
    """Gives a command one option for each field of `RunConfig`, besides its own options and the common ones.

    The command receives its own options, and in `given` all others by name, with `None` for those not given.
    """
    declared = inspect.signature(command, eval_str=True).parameters
    own = {name: _keyword(name, one.annotation, one.default) for name, one in declared.items() if name != "given"}
    hints = typing.get_type_hints(RunConfig)
    fields = {info.name: _parameter(info, _plain(hints[info.name])) for info in describe_params(RunConfig)}
    common = {name: _keyword(name, hint, default) for name, (hint, default) in _COMMON.items()}
    parameters = {**fields, **own, **common}
    command.__signature__ = inspect.Signature(list(parameters.values()))  # type: ignore[attr-defined] # read by typer
    command.__annotations__ = {name: parameter.annotation for name, parameter in parameters.items()}
    return command


def read_config(given: Mapping[str, Any]) -> RunConfig:
    """Returns the configuration given by the flags.

    Raises:
        RequestError: A value is not allowed, or the file cannot be read.
    """
    names = [info.name for info in describe_params(RunConfig)]
    flags = {name: given[name] for name in names if given.get(name) is not None}
    return load_config(given["config"], given["set_"] or (), flags, suggest=suggesting(given))


def suggesting(given: Mapping[str, Any]) -> Suggest:
    """Returns what suggests the settings that suit a dataset, and says on stderr that it did."""

    def suggest(dataset: ComponentSpec) -> Sequence[str]:
        settings = registry_of(given, tells_unknown=False).settings_of(dataset)
        if settings:
            note(f"{' '.join(settings)} is used for {dataset}, as neither --optimizer nor --lr is given.")
        return settings

    return suggest


def _parameter(info: ParameterInfo, hint: Any) -> inspect.Parameter:
    flag = info.name.replace("_", "-")
    declaration = f"--{flag}/--no-{flag}" if hint is bool else f"--{flag}"
    # typer gets no default, because a flag that was not given must not override the file.
    metavar = f"<{KIND_BY_FIELD[info.name]}>" if info.name in KIND_BY_FIELD else None
    completer = components_of(KIND_BY_FIELD[info.name]) if metavar else None
    option = typer.Option(declaration, metavar=metavar, help=_help(info), show_default=False, autocompletion=completer)
    return _keyword(info.name, Annotated[hint | None, option], None)


def _keyword(name: str, hint: Any, default: Any) -> inspect.Parameter:
    return inspect.Parameter(name, inspect.Parameter.KEYWORD_ONLY, default=default, annotation=hint)


def _plain(hint: Any) -> Any:
    """Returns the type for typer: a list for an option that repeats."""
    return list[str] if typing.get_origin(hint) is tuple else hint


def _help(info: ParameterInfo) -> str:
    repeats = " Repeats." if info.name in REPEATED_FIELDS else ""
    bounds = f" {info.bounds.capitalize()}." if info.bounds else ""
    return f"{info.doc}{repeats}{bounds}  [default: {_default(info.default)}]"


def _default(value: Any) -> str:
    if isinstance(value, bool):
        return "yes" if value else "no"
    if isinstance(value, tuple):
        return ", ".join(map(str, value)) or "none"
    return str(value) if value != "" else "empty"
