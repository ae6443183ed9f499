"""What went wrong, told once: a message and a hint, and never a traceback."""

from __future__ import annotations

import sys
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Any

import typer

from regplug.cli.output import emit
from regplug.errors import RegplugError

_DEBUG_HINT = "This should not have happened. Set REGPLUG_DEBUG=1 to see where it did."


@dataclass(frozen=True, kw_only=True)
class Failure:
    """An error as a user meets it.

    Args:
        type: The exception's class.
        message: What was wrong.
        hint: What to do; may be empty.
        exit_code: 1 the work failed, 2 the request was wrong, 130 interrupted.
        result: What was reached all the same, or `None`.
    """

    type: str
    message: str
    hint: str
    exit_code: int
    result: Any = None

    @classmethod
    def of(cls, error: BaseException) -> Failure:
        """Reads an exception."""
        kind = type(error).__name__
        if isinstance(error, RegplugError):
            code, result = error.exit_code, error.result
            return cls(type=kind, message=error.message, hint=error.hint, exit_code=code, result=result)
        if isinstance(error, KeyboardInterrupt | typer.Abort):
            return cls(type="KeyboardInterrupt", message="Interrupted.", hint="", exit_code=130)
        if isinstance(error, typer.TyperException):
            ctx = getattr(error, "ctx", None)
            command = ctx.command_path if ctx else "regplug"
            hint = f"`{command} --help` tells what it takes."
            return cls(type=kind, message=error.format_message(), hint=hint, exit_code=error.exit_code)
        return cls(type=kind, message=f"{kind}: {error}", hint=_DEBUG_HINT, exit_code=1)

    def document(self) -> dict[str, Any]:
        """Returns the JSON document of a failure; it begins with the document of what was reached."""
        reached = {} if self.result is None else self.result.document()
        return {**reached, "error": {"type": self.type, "message": self.message, "hint": self.hint}}

    def tell(self, *, as_json: bool) -> int:
        """Writes it where it belongs and returns the exit code."""
        if as_json:
            emit(self.document())
        else:
            label = "" if self.exit_code == 130 else "error: "
            sys.stderr.write(f"{label}{self.message}\n" + (f"{self.hint}\n" if self.hint else ""))
        return self.exit_code


@contextmanager
def telling_what_was_reached(tell: Callable[[Any], None], *, as_json: bool) -> Iterator[None]:
    """Prints what a run or a study came to also where it fails afterwards; with `--json` the failure's document has it.

    Args:
        tell: Prints a result.
        as_json: Whether `--json` was given.
    """
    try:
        yield
    except RegplugError as error:
        if error.result is not None and not as_json:
            tell(error.result)
        raise
