"""Masks passwords and tokens in addresses, so that regplug never prints, logs or tracks one."""

from __future__ import annotations

import re

HIDDEN = "***"

# Up to the last @ of the word, because an unquoted password may contain one.
_PASSWORD = re.compile(r"(?<=://)([^\s/@:]*):\S*@")
_TOKEN = re.compile(r"(https?://)[^\s/@:]+@")
_FIELD = re.compile(r"([?&;]\w*(?:password|passwd|pwd|token|secret|key)=)[^\s&;'\")]+", re.IGNORECASE)
# Without @, the host is missing and the text may be a password.
_NO_PORT = re.compile(r"(?<=://)([^\s/@:[]+):(?!\d+(?:[/?#'\"\s),;.]|$))[^\s@]+")

_LOGIN = re.compile(r"(?<=://)[^\s/@]*@")


def masked(text: str) -> str:
    """Replaces every password and token in an address by stars.

    >>> masked("postgresql://me:secret@host/runs could not be reached")
    'postgresql://me:***@host/runs could not be reached'
    >>> masked("http://127.0.0.1:5000/?token=abc")
    'http://127.0.0.1:5000/?token=***'
    """
    text = _PASSWORD.sub(rf"\1:{HIDDEN}@", text)
    text = _TOKEN.sub(rf"\1{HIDDEN}@", text)
    text = _NO_PORT.sub(rf"\1:{HIDDEN}", text)
    return _FIELD.sub(rf"\1{HIDDEN}", text)


def without_login(uri: str) -> str:
    """Returns an address without user and password, for a link on a page.

    >>> without_login("https://me:secret@host:5000/mlflow")
    'https://host:5000/mlflow'
    """
    return _LOGIN.sub("", masked(uri))
