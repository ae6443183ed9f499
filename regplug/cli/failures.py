"""What went wrong, told once: a message and a hint, and never a traceback."""

from __future__ import annotations

import sys
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
    """

    type: str
    message: str
    hint: str
    exit_code: int

    @classmethod
    def of(cls, error: BaseException) -> Failure:
        """Reads an exception."""
        kind = type(error).__name__
        if isinstance(error, RegplugError):
            return cls(type=kind, message=error.message, hint=error.hint, exit_code=error.exit_code)
        if isinstance(error, KeyboardInterrupt | typer.Abort):
            return cls(type="KeyboardInterrupt", message="Interrupted.", hint="", exit_code=130)
        if isinstance(error, typer.TyperException):
            ctx = getattr(error, "ctx", None)
            command = ctx.command_path if ctx else "regplug"
            hint = f"`{command} --help` tells what it takes."
            return cls(type=kind, message=error.format_message(), hint=hint, exit_code=error.exit_code)
        return cls(type=kind, message=f"{kind}: {error}", hint=_DEBUG_HINT, exit_code=1)

    def document(self) -> dict[str, Any]:
        """Returns the JSON document of a failure."""
        return {"error": {"type": self.type, "message": self.message, "hint": self.hint}}

    def tell(self, *, as_json: bool) -> int:
        """Writes it where it belongs and returns the exit code."""
        if as_json:
            emit(self.document())
        else:
            label = "" if self.exit_code == 130 else "error: "
            sys.stderr.write(f"{label}{self.message}\n" + (f"{self.hint}\n" if self.hint else ""))
        return self.exit_code
