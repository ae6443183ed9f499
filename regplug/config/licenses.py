"""Checks the licence that is declared for an exported model."""

from __future__ import annotations

import re

from regplug.errors import RequestError

_MOST_CHARACTERS = 100
_LICENSE = re.compile(r"[A-Za-z0-9.+()-]+( +[A-Za-z0-9.+()-]+)*")


def check_license(license_id: str) -> None:
    """Checks that a licence can stand in a manifest and a card: an SPDX expression, or empty if it is unknown.

    Raises:
        RequestError: It is not one line of at most 100 letters, digits and `.-+()`, with spaces between words.

    >>> check_license("MIT OR Apache-2.0")
    """
    is_text = isinstance(license_id, str)
    if license_id == "" or (is_text and len(license_id) <= _MOST_CHARACTERS and _LICENSE.fullmatch(license_id)):
        return
    raise RequestError(
        f"The licence {repr(license_id)[:_MOST_CHARACTERS]} is not one line of at most {_MOST_CHARACTERS} letters, "
        "digits and .-+() with spaces between words.",
        hint="Give an SPDX expression, such as apache-2.0 or (MIT OR Apache-2.0); without a licence, leave it out.",
    )
