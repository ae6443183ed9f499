"""Outcomes of a check: it passes, fails, does not apply to the component, or could not run."""

from __future__ import annotations

import unittest
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import TYPE_CHECKING, TypeAlias

from regplug.errors import RegplugError

if TYPE_CHECKING:
    from regplug.testing.subject import Subject

Check: TypeAlias = "Callable[[Subject], None]"
"""A named function whose docstring names the bug it finds. It returns, or raises one of the classes below."""


class CheckFailed(AssertionError):  # noqa: N818 - it is the outcome of a check and no error of the kit
    """The component fails the check."""


class NotApplicable(unittest.SkipTest):
    """The check does not apply to this component, according to its descriptor."""


class CouldNotRun(Exception):  # noqa: N818 - it is the outcome of a check
    """The check applies to the component but could not run, which counts as a failure.

    Args:
        reason: The reason.
        hint: How to make it run; may be empty.
    """

    def __init__(self, reason: str, *, hint: str = "") -> None:
        super().__init__(in_one_line(reason))
        self.hint = in_one_line(hint)


def expect(condition: object, reason: str) -> None:
    """Raises `CheckFailed` with this reason unless the condition holds."""
    if not condition:
        raise CheckFailed(reason)


@contextmanager
def attempting(what: str) -> Iterator[None]:
    """Turns an exception of plugin code into a failed check with the name of the attempted operation."""
    try:
        yield
    except (CheckFailed, NotApplicable, CouldNotRun):
        raise
    except Exception as error:
        raise CheckFailed(f"{what}: {told(error)}") from error


def told(error: BaseException) -> str:
    """Returns an exception in one line: its class and message."""
    text = error.message if isinstance(error, RegplugError) else str(error)
    return f"{type(error).__name__}: {in_one_line(text)}"


def in_one_line(text: str) -> str:
    """Returns the first 300 characters of a text, with runs of whitespace replaced by one space."""
    return " ".join(text.split())[:300]
