"""Masks passwords and tokens in addresses, so that regplug never prints, logs or tracks one."""

from __future__ import annotations

import os
import re

HIDDEN = "***"

# Up to the last @ of the word, because an unquoted password may contain one.
_PASSWORD = re.compile(r"(?<=://)([^\s/@:]*):\S*@")
_TOKEN = re.compile(r"(https?://)[^\s/@:]+@")
_FIELD = re.compile(r"([?&;]\w*(?:password|passwd|pwd|token|secret|key)=)[^\s&;'\")]+", re.IGNORECASE)
# Without @, the host is missing and the text may be a password.
_NO_PORT = re.compile(r"(?<=://)([^\s/@:[]+):(?!\d+(?:[/?#'\"\s),;.]|$))[^\s@]+")

_LOGIN = re.compile(r"(?<=://)[^\s/@]*@")


_VARIABLES = ("MLFLOW_TRACKING_PASSWORD", "MLFLOW_TRACKING_TOKEN", "PGPASSWORD", "AWS_SECRET_ACCESS_KEY")
_SHORTEST = 8
"""Shorter values of these variables are not replaced: they may be ordinary words."""


def masked(text: str) -> str:
    """Replaces every password and token in an address, and those in environment variables, by stars.

    >>> masked("postgresql://me:secret@host/runs could not be reached")
    'postgresql://me:***@host/runs could not be reached'
    >>> masked("http://127.0.0.1:5000/?token=abc")
    'http://127.0.0.1:5000/?token=***'
    """
    text = _PASSWORD.sub(rf"\1:{HIDDEN}@", text)
    text = _TOKEN.sub(rf"\1{HIDDEN}@", text)
    text = _NO_PORT.sub(rf"\1:{HIDDEN}", text)
    text = _FIELD.sub(rf"\1{HIDDEN}", text)
    for name in _VARIABLES:
        secret = os.environ.get(name, "").strip()
        if len(secret) >= _SHORTEST:
            text = text.replace(secret, HIDDEN)
    return text


def mask_exception(error: BaseException | None) -> None:
    """Replaces passwords and tokens in the texts of an exception and of its causes, which a traceback shows."""
    seen: set[int] = set()
    waiting = [error]
    while waiting:
        each = waiting.pop()
        if each is None or id(each) in seen:
            continue
        seen.add(id(each))
        each.args = tuple(masked(one) if isinstance(one, str) else one for one in each.args)
        message = getattr(each, "message", None)
        if isinstance(message, str):
            each.message = masked(message)  # type: ignore[attr-defined]  # it has one
        waiting += [each.__cause__, each.__context__]


def without_login(uri: str) -> str:
    """Returns an address without user and password, for a link on a page.

    >>> without_login("https://me:secret@host:5000/mlflow")
    'https://host:5000/mlflow'
    """
    return _LOGIN.sub("", masked(uri))
