"""Values for a parameter: three that differ, those just outside its bounds, and those on their edge."""

from __future__ import annotations

import math
import types
import typing
from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any, Literal, Union

import annotated_types as at

from regplug.config.params import ParameterInfo
from regplug.errors import RegplugError
from regplug.testing.subject import Subject

_NUMBERS = (at.Ge, at.Gt, at.Le, at.Lt)


@dataclass(frozen=True, kw_only=True)
class Bound:
    """One bound of one parameter.

    Args:
        field: The parameter.
        text: The bound as text.
        outside: The value just outside.
        edge: The value just inside.
    """

    field: str
    text: str
    outside: Any
    edge: Any


def bounds_of(subject: Subject) -> Iterator[Bound]:
    """Yields every bound of every parameter."""
    hints = typing.get_type_hints(subject.component.params, include_extras=True)
    for info in subject.fields:
        for mark, in_tuple in _marks(hints[info.name], False):
            if isinstance(mark, _NUMBERS):
                outside, edge = _around(mark, is_whole=float not in set(_leaves(hints[info.name])))
                wrap = _in_tuple(hints[info.name], info) if in_tuple else None
                yield Bound(
                    field=info.name,
                    text=str(mark),
                    outside=wrap(outside) if wrap else outside,
                    edge=wrap(edge) if wrap else edge,
                )
            elif isinstance(mark, at.MinLen) and mark.min_length > 0 and isinstance(info.default, tuple):
                sized = info.default[:1] * mark.min_length
                yield Bound(field=info.name, text=str(mark), outside=sized[:-1], edge=sized)
            elif isinstance(mark, at.MaxLen) and isinstance(info.default, tuple) and info.default:
                sized = info.default[:1] * (mark.max_length + 1)
                yield Bound(field=info.name, text=str(mark), outside=sized, edge=sized[:-1])


def _in_tuple(hint: Any, info: ParameterInfo) -> Any:
    """How a bound on a tuple's entries is tested: with a number alone if that is also allowed."""
    allows_number = any(leaf in (int, float) for leaf in _leaves(hint))
    length = len(info.default) if isinstance(info.default, tuple) and info.default else 1
    return None if allows_number else lambda value: (value,) * length


def _around(mark: Any, *, is_whole: bool) -> tuple[Any, Any]:
    """The values just outside and just inside a bound."""
    limit = next(getattr(mark, name) for name in ("ge", "gt", "le", "lt") if hasattr(mark, name))
    is_lower, is_closed = isinstance(mark, at.Ge | at.Gt), isinstance(mark, at.Ge | at.Le)
    below = limit - 1 if is_whole else math.nextafter(limit, -math.inf)
    above = limit + 1 if is_whole else math.nextafter(limit, math.inf)
    if is_closed:
        return (below if is_lower else above), limit
    return limit, (above if is_lower else below)


def _marks(hint: Any, in_tuple: bool) -> Iterator[tuple[Any, bool]]:
    origin = typing.get_origin(hint)
    if origin is Literal:
        return
    if origin is typing.Annotated:
        inner, *marks = typing.get_args(hint)
        for mark in marks:
            for each in mark if isinstance(mark, at.GroupedMetadata) else (mark,):
                yield each, in_tuple
        yield from _marks(inner, in_tuple)
        return
    for part in typing.get_args(hint):
        if part is not Ellipsis:
            yield from _marks(part, in_tuple or origin in (tuple, list))


def _leaves(hint: Any) -> Iterator[Any]:
    """The scalar types of an annotation, those inside tuples left out unless there are no others."""
    origin = typing.get_origin(hint)
    if origin is typing.Annotated:
        yield from _leaves(typing.get_args(hint)[0])
    elif origin in (Union, types.UnionType):
        for part in typing.get_args(hint):
            yield from _leaves(part)
    elif origin not in (tuple, list, Literal):
        yield hint


def three_values(subject: Subject, info: ParameterInfo) -> list[Any]:
    """Up to three different allowed values of a number, including the default."""
    found: list[Any] = []
    for value in _candidates(info):
        if value not in found and _is_taken(subject, info.name, value):
            found.append(value)
    return found[:3]


def off_values(subject: Subject) -> dict[str, float]:
    """The parameters that declare a value at which the component changes nothing, with that value."""
    hints = typing.get_type_hints(subject.component.params, include_extras=True)
    return {
        info.name: int(info.off) if float not in set(_leaves(hints[info.name])) else info.off
        for info in subject.fields
        if info.off is not None
    }


def _candidates(info: ParameterInfo) -> Iterator[Any]:
    default = info.default
    is_whole = isinstance(default, int) and not isinstance(default, bool) and "float" not in info.type
    values = [default] if isinstance(default, int | float) else []
    if info.search is not None:
        low, high = info.search.low, info.search.high
        values += [low, high, math.sqrt(low * high) if info.search.log else (low + high) / 2]
    base = values[0] if values else 0.5
    values += [base * 0.5, base * 1.5, base + 1, base + 2, base - 1, 0.25, 0.75, 2.0]
    for value in values:
        yield round(value) if is_whole else float(value)


def _is_taken(subject: Subject, name: str, value: Any) -> bool:
    try:
        subject.make(**{name: value}) if subject.component.kind == "regularizer" else subject.params(**{name: value})
    except RegplugError:
        return False
    return True
