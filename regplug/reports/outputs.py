"""The names of the forms in which figures and tables are written. Imports nothing heavy."""

from __future__ import annotations

from collections.abc import Sequence

from regplug.errors import RequestError, did_you_mean

FIGURE_FORMATS = ("svg", "pdf", "png")
TABLE_KINDS = ("csv", "latex", "markdown", "json")


def check_formats(formats: Sequence[str]) -> None:
    """Checks the formats of figures.

    Raises:
        RequestError: One is unknown, or there is none.
    """
    for kind in formats:
        if kind not in FIGURE_FORMATS:
            raise RequestError(f"A figure cannot be written as {kind}.", hint=did_you_mean(kind, FIGURE_FORMATS))
    if not formats:
        raise RequestError("No format of figures is given.", hint=f"Choose from {', '.join(FIGURE_FORMATS)}.")


def check_kind(kind: str) -> None:
    """Checks the name of a kind of table.

    Raises:
        RequestError: There is no such kind.
    """
    if kind not in TABLE_KINDS:
        raise RequestError(f"A table cannot be written as {kind}.", hint=did_you_mean(kind, TABLE_KINDS))
