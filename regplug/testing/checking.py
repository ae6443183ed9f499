"""What a check says: it holds, it does not, it does not concern this component, or it could not be made."""

from __future__ import annotations

import unittest
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import TYPE_CHECKING, TypeAlias

from regplug.errors import RegplugError

if TYPE_CHECKING:
    from regplug.testing.subject import Subject

Check: TypeAlias = "Callable[[Subject], None]"
"""A named function whose docstring says what it protects against. It returns, or raises one of the classes below."""


class CheckFailed(AssertionError):  # noqa: N818 - it is the outcome of a check and no error of the kit
    """The component is not what the check asks for."""


class NotApplicable(unittest.SkipTest):
    """The descriptor says that the check does not concern this component."""


class CouldNotRun(Exception):  # noqa: N818 - it is the outcome of a check
    """The check concerns the component and could not be made here: a mandatory check skipped, which is a failure.

    Args:
        reason: Why not.
        hint: What makes it possible; may be empty.
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
    """Turns what plugin code raises into a failed check that says what was attempted."""
    try:
        yield
    except (CheckFailed, NotApplicable, CouldNotRun):
        raise
    except Exception as error:
        raise CheckFailed(f"{what}: {told(error)}") from error


def told(error: BaseException) -> str:
    """An exception in one line: its class and what it says."""
    text = error.message if isinstance(error, RegplugError) else str(error)
    return f"{type(error).__name__}: {in_one_line(text)}"


def in_one_line(text: str) -> str:
    """The first 300 characters of a text, each row of blanks and line ends as one blank."""
    return " ".join(text.split())[:300]
