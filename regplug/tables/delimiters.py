"""Finds the delimiter of a text file with a table. Needs only the standard library."""

from __future__ import annotations

from collections.abc import Iterable

DELIMITERS = {"comma": ",", "semicolon": ";", "tab": "\t", "space": " ", "bar": "|"}

ENCODING = "utf-8-sig"
"""Skips the byte order mark that spreadsheets write; it would become part of the first name."""


def first_line(lines: Iterable[str]) -> str:
    """Returns the first line that is not blank; an empty string if there is none."""
    return next((line for line in lines if line.strip()), "")


def likely_delimiter(line: str) -> str:
    """Returns the most frequent delimiter of a line; a space is never guessed, as names may contain spaces.

    >>> likely_delimiter("age;size, in m;town")
    ';'
    """
    return max((sign for name, sign in DELIMITERS.items() if name != "space"), key=line.count)
