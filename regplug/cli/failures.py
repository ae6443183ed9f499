"""What went wrong, told once: a message and a hint, and a traceback where it was asked for."""

from __future__ import annotations

import dataclasses
import errno
import os
import sys
import traceback
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import typer

from regplug.cli.output import emit
from regplug.errors import PluginError, RegplugError

INTERRUPTED = 130
"""Exit code of what the user stopped."""

FOLDER_GONE = "The folder in which you stand was deleted."
FOLDER_HINT = "Go to one that exists: cd ~, or cd into it anew."

_WHERE_HINT = "--debug shows where it was needed."
_DEBUG_HINT = "This is a fault of regplug itself. Add --debug, or set REGPLUG_DEBUG=1, and report what it shows."


@dataclass(frozen=True, kw_only=True)
class Failure:
    """An error as a user meets it.

    Args:
        type: The exception's class.
        message: What was wrong.
        hint: What to do; may be empty.
        exit_code: 1 the work failed, 2 the request was wrong, 130 interrupted.
        result: What was reached all the same, or `None`.
        error: The exception, for its traceback.
    """

    type: str
    message: str
    hint: str
    exit_code: int
    result: Any = None
    error: BaseException | None = None

    @classmethod
    def of(cls, error: BaseException) -> Failure:
        """Reads an exception."""
        failure = dataclasses.replace(cls._read(error), error=error)
        if failure.exit_code == INTERRUPTED or not is_folder_gone():
            return failure
        # Whatever it was, no path has a meaning any more.
        return dataclasses.replace(failure, message=FOLDER_GONE, hint=FOLDER_HINT)

    @classmethod
    def _read(cls, error: BaseException) -> Failure:
        kind = type(error).__name__
        if isinstance(error, RegplugError):
            code, result = error.exit_code, error.result
            return cls(type=kind, message=error.message, hint=error.hint, exit_code=code, result=result)
        if type(error) is KeyboardInterrupt or isinstance(error, typer.Abort):
            return cls(type="KeyboardInterrupt", message="Interrupted.", hint="", exit_code=INTERRUPTED)
        if isinstance(error, typer.TyperException):
            ctx = getattr(error, "ctx", None)
            command = ctx.command_path if ctx else "regplug"
            hint = f"`{command} --help` tells what it takes."
            return cls(type=kind, message=error.format_message(), hint=hint, exit_code=error.exit_code)
        if isinstance(error, UnicodeEncodeError) and error.reason == "surrogates not allowed":
            hint = "Rename what it names, or write it another way."
            return cls(type=kind, message=f"{error.object!r} is not valid UTF-8.", hint=hint, exit_code=2)
        if isinstance(error, OSError) and error.filename is not None:
            # A name that is too long stands in the request; what else a file refuses shows only in the work.
            code = 2 if error.errno == errno.ENAMETOOLONG else 1
            message = f"{os.fsdecode(error.filename)}: {error.strerror}."
            return cls._of_component(error) or cls(type=kind, message=message, hint=_WHERE_HINT, exit_code=code)
        return cls._of_component(error) or cls(type=kind, message=f"{kind}: {error}", hint=_DEBUG_HINT, exit_code=1)

    @classmethod
    def _of_component(cls, error: BaseException) -> Failure | None:
        """The failure that somebody's component is to blame for, or `None`."""
        from regplug.registry.faults import plugin_error

        named = plugin_error(error)
        # What breaks a request is caught where components are built; this was in the middle of the work.
        return None if named is None else dataclasses.replace(cls._read(named), exit_code=1)

    def document(self) -> dict[str, Any]:
        """Returns the JSON document of a failure; it begins with the document of what was reached."""
        reached = {} if self.result is None else self.result.document()
        return {**reached, "error": {"type": self.type, "message": self.message, "hint": self.hint}}

    def tell(self, *, as_json: bool, is_debugged: bool = False) -> int:
        """Writes it where it belongs and returns the exit code.

        Args:
            as_json: Whether it is a document on stdout, and not text on stderr.
            is_debugged: Whether the traceback is shown, which `REGPLUG_DEBUG` asks for too, and `REGPLUG_STRICT` for
                the faults of plugins.
        """
        is_strict = _is_set("REGPLUG_STRICT") and _is_of_plugin(self.error)
        if self.error is not None and (is_debugged or is_strict or _is_set("REGPLUG_DEBUG")):
            traceback.print_exception(self.error)
        if as_json:
            emit(self.document())
        else:
            label = "" if self.exit_code == INTERRUPTED else "error: "
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


def is_folder_gone() -> bool:
    """Returns whether the working folder was deleted."""
    try:
        Path.cwd()
    except FileNotFoundError:
        return True
    return False


def _is_of_plugin(error: BaseException | None) -> bool:
    """Whether a plugin is to blame for it, or for what it was raised from."""
    if error is None or isinstance(error, PluginError):
        return error is not None
    if not isinstance(error, RegplugError):
        return Failure.of(error).type == PluginError.__name__
    return _is_of_plugin(error.__cause__)


def is_own_exit(error: SystemExit) -> bool:
    """Returns whether `sys.exit` was called by who may: a command of a plugin, or a library that it uses."""
    from regplug.registry.faults import find_fault

    fault = find_fault(error)
    return fault is None or (bool(fault.suspects) and all(one.kind == "command" for one in fault.suspects))


def exit_code_of(error: SystemExit) -> int:
    """Returns the exit code that Python would end with; a text is written to stderr, as Python does."""
    if error.code is None or isinstance(error.code, int):
        return error.code or 0
    sys.stderr.write(f"{error.code}\n")
    return 1


def _is_set(variable: str) -> bool:
    return os.environ.get(variable, "") not in ("", "0")
