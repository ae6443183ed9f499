"""The component mini-language: `name`, `name:param=value,param=value`, `name@alias:...`, `dist/name`, `./net.py:Net`.

Values are numbers as Python reads them, `true` and `false`, lists in brackets, quoted text, and else plain text.
A comma inside brackets or quotes does not split.

    text   = head [":" values]
    head   = [dist "/"] name ["@" alias]  |  (module "." module | path ".py") ":" attribute ["@" alias]
    values = key "=" value {"," key "=" value}

In the place of a dataset, the path of a file or folder of data is a head: `mine.csv`, `./images`.
"""

from __future__ import annotations

import functools
import re
from collections.abc import Mapping
from dataclasses import dataclass, field, replace
from types import MappingProxyType
from typing import Any

from regplug.config.literals import GRAMMAR, KEY, read_values, write_value
from regplug.errors import RequestError

_NAME = re.compile(r"[a-z][a-z0-9_]*")
_HEAD = re.compile(r"(?:(?P<distribution>[A-Za-z0-9][A-Za-z0-9._-]*)/)?(?P<name>[a-z][a-z0-9_]*)(?:@(?P<alias>\w+))?")
_ATTRIBUTE = re.compile(r"(?P<attribute>[^\W\d]\w*)(?:@(?P<alias>\w+))?")


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
            return cls(name=head, path=head, values=read_values(text, rest))
        if _is_code(head):
            return cls._parse_code(text, head, rest)
        match = _HEAD.fullmatch(head)
        if match is None:
            several = [part.strip() for part in re.split("[,+]", head)]
            are_names = all(map(_HEAD.fullmatch, several))
            hint = f"These are {len(several)} components: repeat the option for each." if are_names else GRAMMAR
            raise RequestError(f"{text!r} is not a component: {head!r} is not a name.", hint=hint)
        return cls(**match.groupdict(), values=read_values(text, rest))

    @classmethod
    def _parse_code(cls, text: str, place: str, rest: str) -> ComponentSpec:
        head, _, values = rest.partition(":")
        match = _ATTRIBUTE.fullmatch(head)
        if match is None:
            raise RequestError(
                f"{text!r} does not say which class or function of {place} is meant.", hint=f"Write {place}:Name."
            )
        attribute, alias = match["attribute"], match["alias"]
        return cls(name=attribute, alias=alias, code=f"{place}:{attribute}", values=read_values(text, values))

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
    has_attribute = head.endswith(".py") or (rest and not re.match(rf"\s*{KEY.pattern}\s*=", rest))
    return not has_attribute and (_is_code(head) or "/" in head) and _HEAD.fullmatch(head) is None


__all__ = ["ComponentSpec", "is_component_name"]
