"""Parameters: frozen dataclasses with bounds, read, described and checked.

A field is `Annotated[float, Ge(0), Lt(1), Stackable()] = 0.1` with a line of text below it. Values are checked
strictly: an int is taken for a float, a list for a tuple, and nothing else is converted, so `true` is no number and
`"0.5"` is text. NaN is refused, and so is an infinite number, unless the field names it as a bound (`Le(inf)`), as the
value that changes nothing (`Stackable(off=inf)`) or as its default.
"""

from __future__ import annotations

import dataclasses
import functools
import typing
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

from regplug.api import Component, InputFile, Needed, Schedulable, Search, Stackable
from regplug.config.annotations import TECHNICAL, bounds_of, docs_of, leaves_of, limits_of, marks_of, type_text
from regplug.config.literals import plain_number
from regplug.config.ramps import SHAPES, Ramp, read_ramp
from regplug.config.values import faults_of, flat
from regplug.errors import ParameterError, PluginError, did_you_mean, some_of

if TYPE_CHECKING:
    from pydantic import TypeAdapter


@dataclass(frozen=True, kw_only=True)
class ParameterInfo:
    """Describes one field of a parameters class.

    Args:
        name: The field's name.
        type: Its type as text, such as `float or list of float`.
        default: Its default.
        bounds: Its bounds in words, such as `at least 0 and less than 1`; empty if it has none.
        doc: The line of text below the field.
        stackable: Whether it may differ between the runs of one stack.
        off: If it is stackable, the value at which the component has no effect, or `None`.
        schedulable: Whether it may change over a run.
        search: The range in which a search varies it, or `None`.
        needed: If a user must give it, an example; else `None`.
        is_file: Whether it is the path of a file or folder that must exist.
    """

    name: str
    type: str
    default: Any
    bounds: str
    doc: str
    stackable: bool
    off: float | None
    schedulable: bool
    search: Search | None
    needed: Needed | None
    is_file: bool

    @property
    def allowed(self) -> str:
        """Type and bounds in one text."""
        return f"{self.type}, {self.bounds}" if self.bounds else self.type


def make_params(component: Component, values: Mapping[str, Any], origin: str = "") -> Any:
    """Returns the component's parameters with these values, and defaults for the others.

    Args:
        component: The descriptor whose `params` class is filled.
        values: Value by name.
        origin: Where the component or its values come from; shown in the error.

    Returns:
        An instance of `component.params`.

    Raises:
        ParameterError: Names are unknown or values are not allowed; the message lists all of them.
        PluginError: The parameters class cannot be read.
    """
    subject = f"{component.kind} {component.name}" + (f" ({origin})" if origin else "")
    hint = f"`regplug plugins show {component.name}` lists the parameters."
    checked = check_fields(component.params, values, subject=subject, hint=hint)
    try:
        return component.params(**checked)
    except (ValueError, TypeError) as error:
        raise ParameterError(f"{subject}: {error}", hint=hint) from error


def check_fields(cls: type, values: Mapping[str, Any], *, subject: str, hint: str = "") -> dict[str, Any]:
    """Returns the values converted for the dataclass, or reports everything that is wrong with them.

    Args:
        cls: A dataclass with bounds.
        values: Value by field name; fields that are absent are left absent.
        subject: Whose values these are, for the message.
        hint: The next step, for the message.

    Raises:
        ParameterError: Names are unknown or values are not allowed.
    """
    infos = {info.name: info for info in describe_params(cls)}
    problems, checked = [], {}
    for name, value in values.items():
        if name not in infos:
            problems.append(_unknown(name, infos))
            continue
        try:
            checked[name] = _check(cls, name, value)
        except (ValueError, OverflowError):
            problems.append(_refused_ramp(name, value, infos[name]) or _refused(cls, name, value, infos[name]))
    if problems:
        raise ParameterError(f"{subject}: " + "\n  ".join(problems), hint=hint)
    return checked


def _unknown(name: str, infos: Mapping[str, ParameterInfo]) -> str:
    if not infos:
        return f"{name} is unknown: there are no parameters."
    near = did_you_mean(name, infos)
    # With few names, the nearest may be far from what was meant, so all of them are listed.
    known = "" if near.startswith("Known") else f" Known: {some_of(infos)}."
    return f"{name} is unknown. {near}{known}"


def _refused(cls: type, name: str, value: Any, info: ParameterInfo) -> str:
    is_number = isinstance(value, int | float)
    if is_number and value >= TECHNICAL:
        info = dataclasses.replace(info, bounds=", ".join(bounds_of(_hints(cls)[name], is_complete=True)))
    lacking = [word for word in faults_of(value) if word != "finite" or "float" in info.type]
    text = f"{name}={value!r} is not allowed: {', '.join((info.allowed, *lacking))}."
    return f'{text} A number is text in quotes: "{value}".' if is_number and info.type.startswith("text") else text


def _check(cls: type, name: str, value: Any) -> Any:
    """Raises pydantic's ValidationError, which is a ValueError."""
    hint = _hints(cls)[name]
    if value == "none" and _allows_none(hint):
        return None
    ramp = _as_ramp(value)
    if ramp is not None and str not in leaves_of(hint):
        return _check_ramp(cls, name, ramp)
    checked = _adapters(cls)[name].validate_python(_as_python(value), strict=True)
    if any(faults_of(checked, _named_numbers(cls, name))):
        raise ValueError
    return checked


@functools.cache
def _named_numbers(cls: type, name: str) -> tuple[Any, ...]:
    """What a field names itself: bounds, the value that changes nothing, and the default."""
    (field,) = (field for field in dataclasses.fields(cls) if field.name == name)
    hint = _hints(cls)[name]
    offs = (mark.off for mark in marks_of(hint) if isinstance(mark, Stackable))
    return (*limits_of(hint), *offs, *flat(_default(field)))


def _as_ramp(value: Any) -> Ramp | None:
    """Returns the schedule given as text, or as a table with `first`, `last` and `shape`; else `None`."""
    if isinstance(value, Mapping):
        is_table = {"first", "last"} <= set(value) <= {"first", "last", "shape"}
        return Ramp(**value) if is_table else None
    return read_ramp(value) if isinstance(value, str) else value if isinstance(value, Ramp) else None


def _check_ramp(cls: type, name: str, ramp: Ramp) -> Ramp:
    """Raises a ValueError if the number may not change, or if one of its ends is not allowed."""
    if ramp.shape not in SHAPES or not any(_is_mark(mark, Schedulable) for mark in marks_of(_hints(cls)[name])):
        raise ValueError(name)
    first, last = (_check(cls, name, end) for end in (ramp.first, ramp.last))
    return Ramp(first, last, ramp.shape)


def _refused_ramp(name: str, value: Any, info: ParameterInfo) -> str:
    ramp = _as_ramp(value)
    if ramp is None:
        return ""
    if not info.schedulable:
        return f"{name}={ramp} is a schedule, but {name} cannot change during a run: give one number ({info.allowed})."
    if ramp.shape not in SHAPES:
        return f"{name}={ramp}: {ramp.shape} is not a schedule shape. {did_you_mean(ramp.shape, SHAPES)}"
    return f"{name}={ramp} is not allowed: both ends must be {info.allowed}."


def _is_mark(mark: Any, kind: type) -> bool:
    """Returns whether metadata is a marker, given as an instance or as the class itself."""
    return mark is kind or isinstance(mark, kind)


def _allows_none(hint: Any) -> bool:
    """Whether the text `none` means None: it is allowed and `none` is not a text of the field's own."""
    members = set(leaves_of(hint))
    return type(None) in members and not members & {str, "none"}


def _as_python(value: Any) -> Any:
    """Converts lists to tuples, and scalars of numpy and torch to Python numbers."""
    return tuple(map(_as_python, value)) if isinstance(value, list | tuple) else plain_number(value)


@functools.cache
def _hints(cls: type) -> dict[str, Any]:
    try:
        return typing.get_type_hints(cls, include_extras=True)
    except (NameError, TypeError, AttributeError) as error:
        raise PluginError(
            f"The annotations of {cls.__module__}.{cls.__qualname__} cannot be read: {error}",
            hint="Define the parameters class at the top of its module and import there what it names.",
        ) from error


@functools.cache
def _adapters(cls: type) -> dict[str, TypeAdapter[Any]]:
    from pydantic import TypeAdapter  # the listing of plugins needs no validator: it starts faster without

    return {field.name: TypeAdapter(_hints(cls)[field.name]) for field in dataclasses.fields(cls)}


@functools.cache
def describe_params(cls: type) -> tuple[ParameterInfo, ...]:
    """Returns a description of each field of a parameters class, in the order of the fields."""
    docs = docs_of(cls)
    return tuple(
        ParameterInfo(
            name=field.name,
            type=type_text(_hints(cls)[field.name]),
            default=_default(field),
            bounds=", ".join(bounds_of(_hints(cls)[field.name])),
            doc=docs.get(field.name, ""),
            stackable=any(_is_mark(mark, Stackable) for mark in marks_of(_hints(cls)[field.name])),
            off=next((mark.off for mark in marks_of(_hints(cls)[field.name]) if isinstance(mark, Stackable)), None),
            schedulable=any(_is_mark(mark, Schedulable) for mark in marks_of(_hints(cls)[field.name])),
            search=next((mark for mark in marks_of(_hints(cls)[field.name]) if isinstance(mark, Search)), None),
            needed=next((mark for mark in marks_of(_hints(cls)[field.name]) if isinstance(mark, Needed)), None),
            is_file=any(isinstance(mark, InputFile) for mark in marks_of(_hints(cls)[field.name])),
        )
        for field in dataclasses.fields(cls)
    )


def stackable_fields(cls: type) -> tuple[str, ...]:
    """Returns the names of the fields that may differ between the runs of one stack."""
    return tuple(info.name for info in describe_params(cls) if info.stackable)


def params_to_dict(params: Any) -> dict[str, Any]:
    """Returns an instance's fields as JSON types: tuples become lists, paths text, nested dataclasses dicts."""
    return {field.name: _plain(getattr(params, field.name)) for field in dataclasses.fields(params)}


def _plain(value: Any) -> Any:
    if isinstance(value, Ramp):
        return str(value)
    if isinstance(value, list | tuple):
        return [_plain(item) for item in value]
    if isinstance(value, Mapping):
        return {str(key): _plain(item) for key, item in value.items()}
    if dataclasses.is_dataclass(value) and not isinstance(value, type):
        return params_to_dict(value)
    return str(value) if isinstance(value, Path) else value


def _default(field: dataclasses.Field[Any]) -> Any:
    if field.default_factory is not dataclasses.MISSING:
        return field.default_factory()
    return None if field.default is dataclasses.MISSING else field.default


__all__ = [
    "ParameterInfo",
    "check_fields",
    "describe_params",
    "make_params",
    "params_to_dict",
    "stackable_fields",
]
