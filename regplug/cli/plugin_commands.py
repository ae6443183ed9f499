"""Commands that plugins add to `regplug`: found in the registry, imported when they are called."""

from __future__ import annotations

from collections.abc import Collection, Iterator
from typing import TYPE_CHECKING, Any

import typer
from typer.main import get_command

from regplug.api import PROJECT
from regplug.cli.options import PluginCommand, new_app
from regplug.errors import PluginError, RequestError, UnknownComponentError

if TYPE_CHECKING:
    from regplug.registry import Problem, Registered, Registry

KIND = "command"


def command_of(text: str) -> Any:
    """Returns the command that a plugin offers as `name` or `dist/name`, or `None`.

    Raises:
        AmbiguousComponentError: Several plugins offer it.
        PluginError: Its target cannot be imported or is not a command.
    """
    from regplug.config.spec import ComponentSpec
    from regplug.registry import default_registry

    try:
        spec = ComponentSpec.parse(text)
    except RequestError:
        return None
    if spec.code is not None or spec.values or spec.alias:
        return None
    try:
        found = default_registry().find(KIND, spec)
    except UnknownComponentError:
        return None
    return _made(found)


def _made(registered: Registered) -> Any:
    from regplug.registry import load_target

    target = load_target(registered)
    if not isinstance(target, typer.Typer):
        if not callable(target):
            raise PluginError(
                f"The command {registered.name} cannot be called: {registered.origin} names "
                f"{registered.component.target}, which is of type {type(target).__name__}.",
                hint="A command's target is a function or a typer.Typer.",
            )
        app = new_app()
        app.command(cls=PluginCommand)(target)
        target = app
    return get_command(target)


def offered_lines(taken: Collection[str]) -> list[tuple[str, str]]:
    """Returns the name to type and the summary of each command that plugins offer.

    Args:
        taken: Names of regplug's own commands.
    """
    import importlib.metadata

    if not any(point.dist and point.dist.name != PROJECT for point in importlib.metadata.entry_points(group=PROJECT)):
        return []  # loading the registry would take longer than the rest of --help
    from regplug.registry import default_registry

    registry = default_registry()
    commands = registry.components(KIND)
    return [(_typed(registry, one, taken), one.component.summary) for one in commands]


def command_problems(registry: Registry, taken: Collection[str]) -> Iterator[Problem]:
    """Yields a problem for each command with the name of one of regplug's own.

    Args:
        registry: The installed components.
        taken: Names of regplug's own commands.
    """
    from regplug.registry import Problem

    for one in registry.components(KIND):
        if one.name in taken:
            yield Problem(
                distribution=one.distribution,
                entry=one.entry,
                what="shadowed",
                message=f"{one.origin} offers the command {one.name}, which is a command of regplug itself.",
                hint=f"Call it as regplug {one.full_name}.",
            )


def _typed(registry: Registry, one: Registered, taken: Collection[str]) -> str:
    return one.full_name if one.name in taken else registry.spelling(one)
