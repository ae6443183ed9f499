"""`regplug plugins`: lists, shows, diagnoses, creates and checks plugins."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from itertools import groupby
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from regplug.cli.completing import any_component, kinds
from regplug.cli.component import component_document, component_lines, full_document
from regplug.cli.installed import registry_of
from regplug.cli.options import Command, Disable, Json, Plugin, new_app
from regplug.cli.output import emit, note, say, say_facts
from regplug.cli.plugins_list import by_family, say_group, with_word
from regplug.errors import RequestError, did_you_mean

if TYPE_CHECKING:
    from regplug.registry import Problem, Registered, Registry

app = new_app()


@app.callback()
def plugins() -> None:
    """List, show, diagnose, create and check plugins."""


@app.command("list", cls=Command)
def list_components(
    word: Annotated[
        str | None,
        typer.Argument(
            help="List only components with this word in name, family, tags or summary.", show_default=False
        ),
    ] = None,
    kind: Annotated[
        str | None, typer.Option("--kind", help="List only components of this kind.", autocompletion=kinds)
    ] = None,
    disable: Disable = None,
    plugin: Plugin = None,
    json: Json = False,
) -> None:
    """List the components that plugins offer, by kind and family."""
    registry = _registry(disable, plugin)
    components = with_word(registry.components(_known_kind(kind)), word)
    if json:
        documents = [component_document(one) for one in components]
        emit({"components": documents, "problems": [problem_document(one) for one in problems_of(registry)]})
        return
    for (kind_name, family), group in groupby(by_family(components), key=lambda one: (one.kind, one.component.family)):
        say_group(f"{kind_name}: {family}" if family else kind_name, list(group), registry)
        say("")
    say("regplug plugins show NAME lists a component's parameters.")
    if problems := problems_of(registry):
        note(*(f"problem: {problem.message}" for problem in problems))
        note("regplug plugins doctor shows what to do.")


@app.command("show", cls=Command)
def show_component(
    name: Annotated[
        str,
        typer.Argument(
            help="A component: name, dist/name, or with --kind your own ./file.py:Name.", autocompletion=any_component
        ),
    ],
    kind: Annotated[
        str | None,
        typer.Option("--kind", help="Kind of the component, if several kinds have the name.", autocompletion=kinds),
    ] = None,
    disable: Disable = None,
    plugin: Plugin = None,
    json: Json = False,
) -> None:
    """Show a component: parameters, order, conflicts, source and provenance."""
    registry = _registry(disable, plugin)
    found = find_components(registry, name, _known_kind(kind))
    if json:
        emit({"components": [full_document(one) for one in found]})
        return
    for index, one in enumerate(found):
        say_facts(
            *([""] if index else []),
            *component_lines(one, one.full_name if one.is_user_code else registry.spelling(one)),
        )


@app.command("doctor", cls=Command)
def doctor(disable: Disable = None, plugin: Plugin = None, json: Json = False) -> None:
    """Show the status and import time of each plugin, every problem and what to do about it."""
    from regplug.cli.plugins_doctor import plugin_document, tell_plugins

    registry = _registry(disable, plugin)
    problems = problems_of(registry)
    if json:
        documents = [problem_document(one) for one in problems]
        emit({"plugins": [plugin_document(one) for one in registry.plugins], "problems": documents})
        return
    tell_plugins(registry.plugins)
    for problem in problems:
        say_facts(f"{problem.what}: {problem.message}", *([f"  {problem.hint}"] if problem.hint else []), "")
    number = len(problems)
    say(f"{number} problem{'' if number == 1 else 's'}." if number else "No problems found.")


@app.command("new", cls=Command)
def new(
    name: Annotated[str, typer.Argument(help="Name of the distribution, such as my-regs.")],
    kind: Annotated[
        str, typer.Option("--kind", help="Kind of the component: regularizer, activation, ...")
    ] = "regularizer",
    component: Annotated[
        str | None, typer.Option("--name", help="Name of the component.  [default: derived from the distribution's]")
    ] = None,
    out: Annotated[Path | None, typer.Option("--out", help="Folder to write.  [default: ./NAME]")] = None,
    json: Json = False,
) -> None:
    """Write a complete plugin package: descriptor, implementation, conformance tests, README and CI."""
    from regplug.cli.plugins_new import write_package

    made = write_package(name, kind=kind, component=component, folder=out)
    if json:
        emit(made.document())
        return
    say(f"{made.folder}", *(f"  {file}" for file in made.files), "", "Next:", *(f"  {line}" for line in made.next()))


@app.command("check", cls=Command)
def check(
    distribution: Annotated[str, typer.Argument(help="Name of a distribution, or of a file or package of --plugin.")],
    given: Annotated[
        list[str] | None,
        typer.Option(
            "--with",
            metavar="<component>",
            help="Check a component with these values, such as csv:path=data.csv,target=y; repeats.",
            show_default=False,
        ),
    ] = None,
    model: Annotated[
        list[str] | None,
        typer.Option(
            "--model",
            metavar="<component>",
            help="A network of your own to check regularizers on too, such as ./net.py:Net; repeats.",
            show_default=False,
        ),
    ] = None,
    dataset: Annotated[
        str | None,
        typer.Option(
            "--dataset",
            metavar="<component>",
            help="Whose inputs --model takes.  [default: digits]",
            show_default=False,
        ),
    ] = None,
    disable: Disable = None,
    plugin: Plugin = None,
    json: Json = False,
) -> None:
    """Run the conformance kit on every component of a distribution; exit with code 1 if a check fails."""
    registry = registry_of({"disable": disable, "plugin": plugin})
    values = _values_by_name(given or (), distribution)
    if dataset is not None and not model:
        raise RequestError("--dataset says whose inputs --model takes, and there is no --model.", hint="Add --model.")
    from regplug.testing import check_distribution
    from regplug.testing.own_networks import networks_of_models

    networks = networks_of_models(model or (), dataset or "digits", registry)
    report = check_distribution(distribution, values=values, registry=registry, networks=networks)
    if json:
        emit(report.document())
    else:
        say(*report.lines())
    if not report.passed:
        raise typer.Exit(1)


def _values_by_name(texts: Sequence[str], distribution: str) -> dict[str, Mapping[str, Any]]:
    from regplug.config.spec import ComponentSpec
    from regplug.registry.records import normalized

    values: dict[str, Mapping[str, Any]] = {}
    for text in texts:
        spec = ComponentSpec.parse(text)
        is_foreign = spec.distribution is not None and normalized(spec.distribution) != normalized(distribution)
        if spec.code is not None or is_foreign or spec.alias or not spec.values:
            raise RequestError(
                f"--with {text} gives no values for a component of {distribution}.",
                hint="Write --with name:param=value,param=value.",
            )
        if spec.name in values:
            raise RequestError(f"--with names {spec.name} twice.", hint="Give all values of a component at once.")
        values[spec.name] = spec.values
    return values


def find_components(registry: Registry, name: str, kind: str | None) -> list[Registered]:
    """Returns the components with a name, of one kind or of all kinds.

    Raises:
        UnknownComponentError: None has the name; the message suggests similar names.
        RequestError: It is the user's own code and no kind was given.
    """
    from regplug.config.spec import ComponentSpec
    from regplug.errors import UnknownComponentError

    spec = ComponentSpec.parse(name)
    if kind is not None:
        return [registry.find(kind, spec)]
    if spec.code is not None:
        raise RequestError(
            f"{name} is your own code, whose kind is unknown.", hint="Add --kind, for example --kind model."
        )
    kinds = sorted({one.kind for one in registry.components() if one.name == spec.name})
    found = [registry.find(one, spec) for one in kinds]
    if found:
        return found
    names = {registry.spelling(one) for one in registry.components()}
    hint = did_you_mean(name, names)
    raise UnknownComponentError(f"No component is named {name!r}.", hint=hint)


def problem_document(problem: Problem) -> dict[str, str]:
    """Returns a problem as JSON."""
    return {
        "distribution": problem.distribution,
        "entry": problem.entry,
        "what": problem.what,
        "message": problem.message,
        "hint": problem.hint,
    }


def problems_of(registry: Registry) -> list[Problem]:
    """Returns the problems of all plugins and of their commands."""
    from regplug.cli.app import COMMANDS
    from regplug.cli.plugin_commands import command_problems

    return [*registry.problems, *command_problems(registry, COMMANDS)]


def _registry(disable: list[str] | None, plugin: list[str] | None) -> Registry:
    return registry_of({"disable": disable, "plugin": plugin}, tells_unknown=False)


def _known_kind(kind: str | None) -> str | None:
    from regplug.api import KINDS

    if kind is not None and kind not in KINDS:
        raise RequestError(f"There are no components of kind {kind!r}.", hint=did_you_mean(kind, KINDS))
    return kind
