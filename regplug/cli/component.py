"""Describes one component, as text and as JSON."""

from __future__ import annotations

import dataclasses
import inspect
import shlex
from typing import TYPE_CHECKING, Any

from regplug.api import Component, Regularizer
from regplug.config import KIND_BY_FIELD
from regplug.config.literals import write_value
from regplug.config.params import ParameterInfo, describe_params, params_to_dict
from regplug.registry import load_target, takes_keywords
from regplug.registry.usercode import derive_phases

if TYPE_CHECKING:
    from regplug.registry import Registered

_COMMON = {field.name for field in dataclasses.fields(Component)}
_FOR_TESTS = {"felt"}
_FLAGS = {kind: f"--{field}" for field, kind in KIND_BY_FIELD.items()}


def component_document(one: Registered) -> dict[str, Any]:
    """Returns a component as `plugins list --json` prints it."""
    return {
        "kind": one.kind,
        "name": one.name,
        "summary": one.component.summary,
        "source": one.component.source,
        "distribution": one.distribution,
        "version": one.version,
        "location": one.location,
        "editable": one.editable,
        "tags": list(one.component.tags),
        "family": one.component.family,
    }


def full_document(one: Registered) -> dict[str, Any]:
    """Returns a component as `plugins show --json` prints it."""
    return {
        **component_document(one),
        "target": one.component.target,
        "formula": one.component.formula,
        "example": example_of(one.component, one.name),
        "provenance": one.provenance,
        **{name: _listed(value) for name, value in (_phases(one) | declarations(one.component)).items()},
        "parameters": [_parameter_document(info) for info in describe_params(one.component.params)],
    }


def declarations(component: Component) -> dict[str, Any]:
    """Returns the fields that are specific to the component's kind: order, tasks, ..."""
    own = (field.name for field in dataclasses.fields(component) if field.name not in _COMMON | _FOR_TESTS)
    return {name: getattr(component, name) for name in own}


def _phases(one: Registered) -> dict[str, Any]:
    """Returns the phases in which a regularizer acts; imports that one class."""
    return {"phases": derive_phases(load_target(one))} if isinstance(one.component, Regularizer) else {}


def component_lines(one: Registered, spelling: str) -> list[str]:
    """Returns a component as lines, the parameters last."""
    component = one.component
    facts = [("formula", component.formula), ("source", component.source), ("family", component.family)]
    facts += [("tags", ", ".join(component.tags))]
    facts += [(name, _words(value)) for name, value in (_phases(one) | declarations(component)).items()]
    facts += [("from", _origin(one)), ("code", component.target)]
    told = [f"{name:<10} {text}" for name, text in facts if text]
    return [f"{one.kind} {spelling}: {component.summary}", *told, *_parameter_lines(one, spelling)]


def example_of(component: Component, spelling: str) -> str:
    """Returns a command to copy, or nothing for a kind that no flag of `run` names.

    Unless the descriptor has an example, it names the component with the parameters that must be given or else with its
    first one, and the activation that it needs.
    """
    if component.kind not in _FLAGS:
        return ""
    if component.example:
        return f"regplug run {component.example}"
    words = [f"{_FLAGS[component.kind]} {_typed(component, spelling)}"]
    if isinstance(component, Regularizer):
        words += [f"--activation {component.felt.activation}"] if component.felt.activation else []
    return " ".join(("regplug run", *words))


def _typed(component: Component, spelling: str) -> str:
    infos = describe_params(component.params)
    shown = [info for info in infos if info.needed] or infos[:1]
    values = (f"{info.name}={info.needed.example if info.needed else _value(info.default)}" for info in shown)
    text = f"{spelling}:{','.join(values)}" if shown else spelling
    return text if not set(text) & set("[]*\"' ") else shlex.quote(text)


def _origin(one: Registered) -> str:
    if one.is_user_code:
        return "your own code"
    how = ", editable" if one.editable else ""
    return f"{one.distribution} {one.version} (plugin {one.entry}{how}), {one.location}"


def _parameter_lines(one: Registered, spelling: str) -> list[str]:
    if takes_keywords(one):
        return [f"parameters keyword arguments of {spelling}{signature_of(one)}"]
    infos = describe_params(one.component.params)
    example = example_of(one.component, spelling)
    written = [f"example    {example}"] if example else []
    if not infos:
        return ["parameters none", *written]
    lines = ["parameters"]
    for info in infos:
        value = "?" if info.needed else _value(info.default)
        lines.append(f"  {info.name} = {value}   ({info.allowed}{', must be given' if info.needed else ''})")
        lines += [f"      {text}" for text in (info.doc, _stacks(info), _changes(info), _search(info)) if text]
    return [*lines, *written]


def signature_of(one: Registered) -> str:
    """Returns the signature of the user's own code, or an empty string if it has none."""
    try:
        return str(inspect.signature(load_target(one)))
    except ValueError:
        return ""


def _stacks(info: ParameterInfo) -> str:
    return "May differ between runs of one stack." if info.stackable else ""


def _changes(info: ParameterInfo) -> str:
    return "May change over a run: A..B, A..B@cosine or A..B@step." if info.schedulable else ""


def _search(info: ParameterInfo) -> str:
    if info.search is None:
        return ""
    scale = ", on a logarithmic scale" if info.search.log else ""
    return f"A search varies it from {info.search.low:g} to {info.search.high:g}{scale}."


def _value(value: Any) -> str:
    return write_value(list(value) if isinstance(value, tuple) else value)


def _words(value: Any) -> str:
    if isinstance(value, tuple):
        return ", ".join(map(str, value))
    return ("yes" if value else "no") if isinstance(value, bool) else str(value)


def _listed(value: Any) -> Any:
    return list(value) if isinstance(value, tuple) else value


def _parameter_document(info: ParameterInfo) -> dict[str, Any]:
    search = None if info.search is None else params_to_dict(info.search)
    return {
        "name": info.name,
        "type": info.type,
        "bounds": info.bounds,
        "default": _listed(info.default),
        "doc": info.doc,
        "stackable": info.stackable,
        "schedulable": info.schedulable,
        "needed": info.needed is not None,
        "search": search,
    }
