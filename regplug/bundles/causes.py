"""Formats an exception for one line of a message, without line breaks or terminal escape codes."""

from __future__ import annotations

import re

LONGEST = 1500
"""Most characters of a cause to show. Converters print whole graphs after the actual error."""

_OF_TORCHSCRIPT = re.compile(r"The following operation failed in the TorchScript interpreter\..*\n\w+: (.+)", re.DOTALL)
"""TorchScript puts two tracebacks of its own before the actual error."""

_ESCAPE_CODE = re.compile(r"\x1b\[[0-9;?]*[ -/]*[@-~]")


def one_line(text: str) -> str:
    r"""Returns text without line breaks and escape codes, shortened to `LONGEST` characters.

    >>> one_line("step \x1b[96m3/3\x1b[0m\n  failed")
    'step 3/3 failed'
    """
    found = _OF_TORCHSCRIPT.match(text)
    plain = " ".join(_ESCAPE_CODE.sub("", found[1] if found else text).split())
    return plain if len(plain) <= LONGEST else f"{plain[:LONGEST]} ..."


def cause(error: BaseException) -> str:
    """Returns the type and the message of an error.

    >>> cause(KeyError("mode"))
    "KeyError: 'mode'"
    >>> cause(ValueError())
    'ValueError'
    """
    return f"{type(error).__name__}: {one_line(str(error))}".removesuffix(": ")


def root_cause(error: BaseException) -> BaseException:
    """Returns the first error of a chain of `raise ... from`."""
    while error.__cause__ is not None:
        error = error.__cause__
    return error
