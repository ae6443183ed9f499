"""Reports an error once: message, hint and, on request, the traceback."""

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

from regplug.cli.output import emit, note
from regplug.errors import PluginError, RegplugError

INTERRUPTED = 130
"""Exit code after an interruption by the user."""

FOLDER_GONE = "The current folder was deleted."
FOLDER_HINT = "Change to a folder that exists, for example cd ~, or cd into the folder again."

_WHERE_HINT = "--debug shows where it was needed."
_DEBUG_HINT = "This is a bug in regplug. Add --debug, or set REGPLUG_DEBUG=1, and report the traceback."


@dataclass(frozen=True, kw_only=True)
class Failure:
    """An error as it is shown to the user.

    Args:
        type: The exception's class.
        message: What was wrong.
        hint: What to do; may be empty.
        exit_code: 1 the work failed, 2 the request was wrong, 130 interrupted.
        result: The result that exists despite the error, or `None`.
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
        """Returns the failure for an exception."""
        failure = dataclasses.replace(cls._read(error), error=error)
        if failure.exit_code == INTERRUPTED or not is_folder_gone():
            return failure
        # Whatever the exception was, this is the cause: no path can be resolved.
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
            hint = f"`{command} --help` lists its arguments and options."
            return cls(type=kind, message=error.format_message(), hint=hint, exit_code=error.exit_code)
        if isinstance(error, UnicodeEncodeError) and error.reason == "surrogates not allowed":
            hint = "Rename the file, or spell the argument in UTF-8."
            return cls(type=kind, message=f"{error.object!r} is not valid UTF-8.", hint=hint, exit_code=2)
        if isinstance(error, OSError) and error.filename is not None:
            # A file name that is too long is an error in the request; other file errors occur only during the work.
            code = 2 if error.errno == errno.ENAMETOOLONG else 1
            message = f"{os.fsdecode(error.filename)}: {error.strerror}."
            return cls._of_component(error) or cls(type=kind, message=message, hint=_WHERE_HINT, exit_code=code)
        return cls._of_component(error) or cls(type=kind, message=f"{kind}: {error}", hint=_DEBUG_HINT, exit_code=1)

    @classmethod
    def _of_component(cls, error: BaseException) -> Failure | None:
        """Returns the failure if a component caused it, or `None`."""
        from regplug.registry.faults import plugin_error

        named = plugin_error(error)
        # Errors in a request are caught where components are built; this one occurred during the work.
        return None if named is None else dataclasses.replace(cls._read(named), exit_code=1)

    def document(self) -> dict[str, Any]:
        """Returns the JSON document of a failure; it starts with the document of the result, if there is one."""
        reached = {} if self.result is None else self.result.document()
        return {**reached, "error": {"type": self.type, "message": self.message, "hint": self.hint}}

    def tell(self, *, as_json: bool, is_debugged: bool = False) -> int:
        """Prints the failure and returns the exit code.

        Args:
            as_json: Whether to print a document on stdout instead of text on stderr.
            is_debugged: Whether to show the traceback. `REGPLUG_DEBUG` has the same effect, and so has
                `REGPLUG_STRICT` for errors of plugins.
        """
        is_strict = _is_set("REGPLUG_STRICT") and _is_of_plugin(self.error)
        if self.error is not None and (is_debugged or is_strict or _is_set("REGPLUG_DEBUG")):
            from regplug.tracking.secrets import masked

            sys.stderr.write(masked("".join(traceback.format_exception(self.error))))
        if as_json:
            emit(self.document())
        else:
            label = "" if self.exit_code == INTERRUPTED else "error: "
            note(f"{label}{self.message}", *([self.hint] if self.hint else []))
        return self.exit_code


@contextmanager
def telling_what_was_reached(tell: Callable[[Any], None], *, as_json: bool) -> Iterator[None]:
    """Prints the result of a run or study even if it fails afterwards; with `--json` the error document contains it.

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
    """Returns whether the current folder was deleted."""
    try:
        Path.cwd()
    except FileNotFoundError:
        return True
    return False


def _is_of_plugin(error: BaseException | None) -> bool:
    """Returns whether a plugin caused the error, or the error from which it was raised."""
    if error is None or isinstance(error, PluginError):
        return error is not None
    if not isinstance(error, RegplugError):
        return Failure.of(error).type == PluginError.__name__
    return _is_of_plugin(error.__cause__)


def is_own_exit(error: SystemExit) -> bool:
    """Returns whether `sys.exit` was called by a plugin's command, or by a library that it uses, which is allowed."""
    from regplug.registry.faults import find_fault

    fault = find_fault(error)
    return fault is None or (bool(fault.suspects) and all(one.kind == "command" for one in fault.suspects))


def exit_code_of(error: SystemExit) -> int:
    """Returns the exit code that Python would use; like Python, writes a string argument to stderr."""
    if error.code is None or isinstance(error.code, int):
        return error.code or 0
    sys.stderr.write(f"{error.code}\n")
    return 1


def _is_set(variable: str) -> bool:
    return os.environ.get(variable, "") not in ("", "0")
