"""The component mini-language: `name`, `name:param=value,param=value`, `name@alias:...`, `dist/name`, `./net.py:Net`.

Values are numbers as Python reads them, `true` and `false`, lists in brackets, quoted text, and else plain text.
A comma inside brackets or quotes does not split.

    text   = head [":" values]
    head   = [dist "/"] name ["@" alias]  |  (module "." module | path ".py") ":" attribute ["@" alias]
    values = key "=" value {"," key "=" value}

In the place of a dataset, the path of a file or folder of data is a head: `mine.csv`, `./images`.
"""

from __future__ import annotations

import ast
import functools
import json
import re
from collections.abc import Mapping
from dataclasses import dataclass, field, replace
from types import MappingProxyType
from typing import Any

from regplug.config.ramps import Ramp
from regplug.errors import RequestError

_NAME = re.compile(r"[a-z][a-z0-9_]*")
_HEAD = re.compile(r"(?:(?P<distribution>[A-Za-z0-9][A-Za-z0-9._-]*)/)?(?P<name>[a-z][a-z0-9_]*)(?:@(?P<alias>\w+))?")
_ATTRIBUTE = re.compile(r"(?P<attribute>[^\W\d]\w*)(?:@(?P<alias>\w+))?")
_KEY = re.compile(r"[^\W\d]\w*")
_PLAIN = re.compile(r"[\w./*?~+:@=%-](?:[\w./*?~+:@=% -]*[\w./*?~+:@=%-])?", re.ASCII)
_GRAMMAR = "Write name, name:param=value,param=value, name@alias:..., dist/name, or ./file.py:Name for your own code."


def is_component_name(text: str) -> bool:
    """Returns whether a plugin may give a component this name."""
    return _NAME.fullmatch(text) is not None


@dataclass(frozen=True, kw_only=True)
class ComponentSpec:
    """One component as a user writes it.

    Args:
        name: The component's name; for the user's own code, the attribute.
        distribution: Distribution that must offer it, or `None` for whichever does.
        alias: Second name, for the same component twice.
        code: `"module:attribute"` or `"file.py:attribute"` of the user's own code, or `None`.
        path: A file or folder of data, or `None`; `Registry.locate` finds the dataset that reads it.
        values: Parameters that were given, in the order given.
    """

    name: str
    distribution: str | None = None
    alias: str | None = None
    code: str | None = None
    path: str | None = None
    values: Mapping[str, Any] = field(default_factory=dict)

    def __post_init__(self) -> None:
        object.__setattr__(self, "values", MappingProxyType(dict(self.values)))

    @property
    def key(self) -> str:
        """The name that is unique among the components of its kind in a run: the alias, else the name."""
        return self.alias or self.name

    @classmethod
    def parse(cls, text: str, *, is_data: bool = False) -> ComponentSpec:
        """Reads what a user wrote.

        Args:
            text: The component.
            is_data: Whether the path of a file or folder may stand for the component that reads it.

        Raises:
            RequestError: The text does not follow the grammar.

        >>> ComponentSpec.parse("dropout:drop_probability=[0.2,0.5],at=act*").values["drop_probability"]
        [0.2, 0.5]
        """
        text = text.strip()
        head, _, rest = text.partition(":")
        if is_data and _is_path(head, rest):
            return cls(name=head, path=head, values=_read_values(text, rest))
        if _is_code(head):
            return cls._parse_code(text, head, rest)
        match = _HEAD.fullmatch(head)
        if match is None:
            several = [part.strip() for part in re.split("[,+]", head)]
            are_names = all(map(_HEAD.fullmatch, several))
            hint = f"These are {len(several)} components: repeat the option for each." if are_names else _GRAMMAR
            raise RequestError(f"{text!r} is not a component: {head!r} is not a name.", hint=hint)
        return cls(**match.groupdict(), values=_read_values(text, rest))

    @classmethod
    def _parse_code(cls, text: str, place: str, rest: str) -> ComponentSpec:
        head, _, values = rest.partition(":")
        match = _ATTRIBUTE.fullmatch(head)
        if match is None:
            raise RequestError(
                f"{text!r} does not say which class or function of {place} is meant.", hint=f"Write {place}:Name."
            )
        attribute, alias = match["attribute"], match["alias"]
        return cls(name=attribute, alias=alias, code=f"{place}:{attribute}", values=_read_values(text, values))

    def __reduce__(self) -> Any:
        # The read-only view of the values cannot be pickled.
        fields = {name: getattr(self, name) for name in self.__dataclass_fields__}
        return functools.partial(ComponentSpec, **{**fields, "values": dict(self.values)}), ()

    def with_values(self, values: Mapping[str, Any]) -> ComponentSpec:
        """Returns the same component with exactly these values."""
        return replace(self, values=values)

    def __str__(self) -> str:
        head = self.path or self.code or (f"{self.distribution}/{self.name}" if self.distribution else self.name)
        if self.alias:
            head += f"@{self.alias}"
        values = ",".join(f"{key}={write_value(value)}" for key, value in self.values.items())
        return f"{head}:{values}" if values else head


def _is_code(head: str) -> bool:
    """Returns whether it is the user's own code: it has a dot or a slash, and is not `dist/name`."""
    if head.endswith(".py") or head.startswith((".", "/", "~")):
        return True
    return "." in head and "/" not in head


def _is_path(head: str, rest: str) -> bool:
    """What has a dot or a slash and is followed by no attribute is a file or folder, unless it is `dist/name`."""
    has_attribute = head.endswith(".py") or (rest and not re.match(rf"\s*{_KEY.pattern}\s*=", rest))
    return not has_attribute and (_is_code(head) or "/" in head) and _HEAD.fullmatch(head) is None


def _read_values(text: str, rest: str) -> dict[str, Any]:
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
        return RequestError(f"{self._text!r} cannot be read: {what} at {self._rest[self._at :]!r}.", hint=_GRAMMAR)

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
        match = _KEY.match(self._rest, self._at)
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


__all__ = ["ComponentSpec", "is_component_name", "plain_number", "read_value", "write_value"]
