"""Passwords and tokens in addresses: nothing that regplug prints, logs or tracks holds one."""

from __future__ import annotations

import re

HIDDEN = "***"

# Up to the last @ of the word: a password that was not quoted may have one of its own.
_PASSWORD = re.compile(r"(?<=://)([^\s/@:]*):\S*@")
_TOKEN = re.compile(r"(https?://)[^\s/@:]+@")
_FIELD = re.compile(r"([?&;]\w*(?:password|passwd|pwd|token|secret|key)=)[^\s&;'\")]+", re.IGNORECASE)
# Without @ it is a password for which the host was forgotten.
_NO_PORT = re.compile(r"(?<=://)([^\s/@:[]+):(?!\d+(?:[/?#'\"\s),;.]|$))[^\s@]+")

_LOGIN = re.compile(r"(?<=://)[^\s/@]*@")


def masked(text: str) -> str:
    """Returns a text with every password and token in an address replaced by stars.

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
    """Returns an address without user and password, as a link in a page has it.

    >>> without_login("https://me:secret@host:5000/mlflow")
    'https://host:5000/mlflow'
    """
    return _LOGIN.sub("", masked(uri))
