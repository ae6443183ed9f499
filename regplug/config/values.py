"""Values that no parameter may have: numbers that are not finite, and text that cannot be stored."""

from __future__ import annotations

import math
from collections.abc import Collection, Iterator
from typing import Any


def faults_of(value: Any, allowed: Collection[Any] = ()) -> Iterator[str]:
    """Yields what a value should be but is not, as text.

    Args:
        value: A value, or a list of values.
        allowed: Numbers that it may be although they are not finite.

    >>> list(faults_of([1.0, float("nan")]))
    ['finite']
    >>> list(faults_of(float("inf"), allowed=[float("inf")]))
    []
    """
    named = set(map(repr, allowed))  # NaN equals nothing, itself included
    values = list(flat(value))
    if any(isinstance(each, float) and not math.isfinite(each) and repr(each) not in named for each in values):
        yield "finite"
    if not all(is_utf8(each) for each in values if isinstance(each, str)):
        yield "in valid UTF-8"


def is_utf8(text: str) -> bool:
    r"""Returns whether a text can be stored: half a character, as a file name that is not UTF-8 has it, cannot.

    >>> is_utf8("ü"), is_utf8("\udcff")
    (True, False)
    """
    try:
        text.encode()
    except UnicodeEncodeError:
        return False
    return True


def flat(value: Any) -> Iterator[Any]:
    """Yields a value, or the values in nested lists."""
    if isinstance(value, tuple | list):
        for item in value:
            yield from flat(item)
    else:
        yield value


__all__ = ["faults_of", "flat", "is_utf8"]
