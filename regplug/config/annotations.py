"""Reads the annotations of a parameters class: marks, bounds, types, and the description below each field."""

from __future__ import annotations

import ast
import dataclasses
import inspect
import itertools
import textwrap
import types
import typing
from collections.abc import Iterator, Mapping
from typing import Any, Literal, Union

import annotated_types as at

_SIGNS: Mapping[type, tuple[str, str]] = {
    at.Ge: ("ge", "at least {}"),
    at.Gt: ("gt", "greater than {}"),
    at.Le: ("le", "at most {}"),
    at.Lt: ("lt", "less than {}"),
    at.MinLen: ("min_length", "at least {} of them"),
    at.MaxLen: ("max_length", "at most {} of them"),
    at.MultipleOf: ("multiple_of", "a multiple of {}"),
}


TECHNICAL = 1e18
"""Upper bounds from here on only keep numbers representable; nobody needs to know one before exceeding it."""


def marks_of(hint: Any) -> Iterator[Any]:
    """Yields all metadata of an annotation, the outermost first."""
    yield from getattr(hint, "__metadata__", ())
    for part in _parts(hint):
        yield from marks_of(part)


def leaves_of(hint: Any) -> Iterator[Any]:
    """Yields the types, and the values of Literals, that a single value may have."""
    if typing.get_origin(hint) is Literal:
        yield from typing.get_args(hint)
    elif typing.get_origin(hint) in (Union, types.UnionType, typing.Annotated):
        for part in _parts(hint):
            yield from leaves_of(part)
    else:
        yield hint


def _parts(hint: Any) -> tuple[Any, ...]:
    origin = typing.get_origin(hint)
    if origin is Literal:
        return ()
    if origin is typing.Annotated:
        return typing.get_args(hint)[:1]
    return tuple(part for part in typing.get_args(hint) if part is not Ellipsis)


def bounds_of(hint: Any, *, is_complete: bool = False) -> Iterator[str]:
    """Yields the bounds of an annotation in words, such as `between 0 and 1`, which includes both.

    Args:
        hint: The annotation.
        is_complete: Whether technical upper bounds are included.
    """
    told = {
        attribute: text.format(getattr(bound, attribute))
        for attribute, text, bound in _bounds(hint)
        if is_complete or not (attribute in ("le", "lt") and getattr(bound, attribute) >= TECHNICAL)
    }
    lower, upper = (
        next((told.pop(each) for each in pair if each in told), "") for pair in (("ge", "gt"), ("le", "lt"))
    )
    each = "each " * any(name.endswith("length") for name in told)
    yield from told.values()
    if lower.startswith("at least") and upper.startswith("at most"):
        yield f"{each}between {lower.split()[-1]} and {upper.split()[-1]}"
    elif lower or upper:
        yield each + " and ".join(filter(None, (lower, upper)))


def limits_of(hint: Any) -> Iterator[Any]:
    """Yields the numbers that an annotation gives as bounds."""
    for attribute, _, bound in _bounds(hint):
        yield getattr(bound, attribute)


def _bounds(hint: Any) -> Iterator[tuple[str, str, Any]]:
    """Attribute, words and mark of each bound; those of an `Interval` or the like one by one."""
    for mark in marks_of(hint):
        for bound in mark if isinstance(mark, at.GroupedMetadata) else (mark,):
            if type(bound) in _SIGNS:
                yield (*_SIGNS[type(bound)], bound)


def type_text(hint: Any) -> str:
    """Returns a type as text, such as `float or list of float`."""
    origin = typing.get_origin(hint)
    if origin is Literal:
        return "one of " + ", ".join(map(str, typing.get_args(hint)))
    if origin is typing.Annotated:
        return type_text(_parts(hint)[0])
    if origin in (Union, types.UnionType):
        return " or ".join(dict.fromkeys(map(type_text, _parts(hint))))
    if origin in (tuple, list):
        return "list of " + " or ".join(dict.fromkeys(map(type_text, _parts(hint))))
    words: Mapping[Any, str] = {str: "text", bool: "true or false", type(None): "none"}
    return words[hint] if hint in words else str(getattr(hint, "__name__", hint))


def docs_of(cls: type) -> dict[str, str]:
    """Returns the text below each field, by name, the base classes' first."""
    docs: dict[str, str] = {}
    for base in reversed(cls.__mro__):
        if dataclasses.is_dataclass(base):
            docs |= _own_docs(base)
    return docs


def _own_docs(cls: type) -> dict[str, str]:
    try:
        tree = ast.parse(textwrap.dedent(inspect.getsource(cls)))
    except (OSError, TypeError, SyntaxError):
        return {}  # made at run time, or shipped without source: there is no text to show
    body = getattr(tree.body[0], "body", [])
    return {
        field.target.id: " ".join(text.value.value.split())
        for field, text in itertools.pairwise(body)
        if isinstance(field, ast.AnnAssign)
        and isinstance(field.target, ast.Name)
        and isinstance(text, ast.Expr)
        and isinstance(text.value, ast.Constant)
        and isinstance(text.value.value, str)
    }


__all__ = ["TECHNICAL", "bounds_of", "docs_of", "leaves_of", "limits_of", "marks_of", "type_text"]
