"""Keys and values of a component as text: reads what a user wrote, and writes what is read back as the same."""

from __future__ import annotations

import ast
import json
import re
from collections.abc import Mapping
from typing import Any

from regplug.config.ramps import Ramp
from regplug.errors import RequestError

KEY = re.compile(r"[^\W\d]\w*")
_PLAIN = re.compile(r"[\w./*?~+:@=%-](?:[\w./*?~+:@=% -]*[\w./*?~+:@=%-])?", re.ASCII)
GRAMMAR = "Write name, name:param=value,param=value, name@alias:..., dist/name, or ./file.py:Name for your own code."


def read_values(text: str, rest: str) -> dict[str, Any]:
    """Reads `key=value,key=value`.

    Args:
        text: The whole component, for messages.
        rest: Its values.

    Raises:
        RequestError: It does not follow the grammar, or gives a key twice.
    """
    values: dict[str, Any] = {}
    reader = _Reader(text, rest)
    while not reader.at_end():
        key = reader.read_key()
        if key in values:
            raise RequestError(f"{text!r} gives {key} twice.", hint="Give each parameter once.")
        values[key] = reader.read_value()
        reader.read_separator()
    return values


def read_value(text: str) -> Any:
    """Reads one value: a number, `true` or `false`, a list in brackets, quoted or plain text.

    Raises:
        RequestError: A bracket or quote is not closed, or something follows the value.

    >>> read_value("[1,2.5,a]")
    [1, 2.5, 'a']
    """
    reader = _Reader(text, text)
    value = reader.read_value()
    if not reader.at_end():
        raise reader.error("a comma outside brackets and quotes")
    return value


def write_value(value: Any) -> str:
    """Writes a value such that `read_value` returns it.

    >>> write_value((1, "a,b", True))
    '[1,"a,b",true]'
    """
    value = plain_number(value)
    if isinstance(value, bool):
        return "true" if value else "false"
    if isinstance(value, int):
        return int.__repr__(value)
    if isinstance(value, float):
        return float.__repr__(value)
    if isinstance(value, str):
        return value if _is_plain(value) else json.dumps(value, ensure_ascii=False)
    if isinstance(value, list | tuple):
        return f"[{','.join(map(write_value, value))}]"
    if isinstance(value, Mapping) and {"first", "last"} <= set(value) <= {"first", "last", "shape"}:
        return str(Ramp(**value))
    raise RequestError(f"{value!r} cannot be written as a value.", hint="Numbers, true, false, text and lists can.")


def plain_number(value: Any) -> Any:
    """Returns a scalar of numpy or torch as a Python number, and any other value unchanged."""
    return value.item() if hasattr(value, "item") and getattr(value, "shape", None) == () else value


def _is_plain(text: str) -> bool:
    return _PLAIN.fullmatch(text) is not None and isinstance(_read_bare(text), str)


def _read_bare(text: str) -> Any:
    if text in ("true", "false"):
        return text == "true"
    for number in (int, float):
        try:
            return number(text)
        except ValueError:
            continue
    return text


class _Reader:
    """Reads keys and values from left to right."""

    def __init__(self, text: str, rest: str) -> None:
        self._text = text
        self._rest = rest
        self._at = 0

    def error(self, what: str) -> RequestError:
        return RequestError(f"{self._text!r} cannot be read: {what} at {self._rest[self._at :]!r}.", hint=GRAMMAR)

    def _skip_space(self) -> None:
        while self._peek().isspace():
            self._at += 1

    def _peek(self) -> str:
        return self._rest[self._at : self._at + 1]

    def at_end(self) -> bool:
        self._skip_space()
        return self._at >= len(self._rest)

    def read_key(self) -> str:
        self._skip_space()
        match = KEY.match(self._rest, self._at)
        if match is None:
            raise self.error("a parameter's name was expected")
        self._at = match.end()
        self._skip_space()
        if self._peek() != "=":
            raise self.error(f"{match.group()} must be followed by =value")
        self._at += 1
        return match.group()

    def read_separator(self) -> None:
        if self.at_end():
            return
        if self._peek() != ",":
            raise self.error("a comma was expected")
        self._at += 1
        if self.at_end():
            raise self.error("something must follow a comma")

    def read_value(self, *, in_list: bool = False) -> Any:
        self._skip_space()
        if self._peek() == "[":
            return self._read_list()
        if self._peek() in ("'", '"') and self._peek():
            return self._read_quoted()
        return self._read_plain(in_list=in_list)

    def _read_list(self) -> list[Any]:
        self._at += 1
        values: list[Any] = []
        self._skip_space()
        while self._peek() != "]":
            values.append(self.read_value(in_list=True))
            self._skip_space()
            if self._peek() not in (",", "]") or not self._peek():
                raise self.error("a closing bracket was expected")
            if self._peek() == ",":
                self._at += 1
                self._skip_space()
                if self._peek() == "]":
                    raise self.error("something must follow a comma")
        self._at += 1
        return values

    def _read_quoted(self) -> str:
        quote = self._peek()
        match = re.compile(rf"{quote}(?:[^{quote}\\]|\\.)*{quote}", re.DOTALL).match(self._rest, self._at)
        if match is None:
            raise self.error("a quote is not closed")
        self._at = match.end()
        self._skip_space()
        if self._peek() not in ("", ",", "]"):
            raise self.error("text follows a closing quote")
        try:
            return str(ast.literal_eval(match.group()))
        except (SyntaxError, ValueError):
            raise self.error(f"{match.group()} is not a quoted string") from None

    def _read_plain(self, *, in_list: bool) -> Any:
        start, depth = self._at, 0
        while self._peek() and not (depth == 0 and (self._peek() == "," or (in_list and self._peek() == "]"))):
            depth += {"[": 1, "]": -1}.get(self._peek(), 0)
            if depth < 0:
                raise self.error("a closing bracket has no opening one")
            self._at += 1
        if depth:
            raise self.error("a closing bracket was expected")
        text = self._rest[start : self._at].strip()
        if in_list and not text:
            raise self.error("a list's item was expected")
        return _read_bare(text)


__all__ = ["GRAMMAR", "KEY", "plain_number", "read_value", "read_values", "write_value"]
