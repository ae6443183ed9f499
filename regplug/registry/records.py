"""The records of the registry: components, plugins and problems."""

from __future__ import annotations

import os
import re
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any, Literal

from regplug.api import PROJECT, Component

FIRST_PARTY = PROJECT
"""Name of the distribution whose components' short names are reserved."""

ProblemKind = Literal[
    "broken",
    "stale",
    "incompatible",
    "invalid",
    "unknown_hook",
    "heavy_import",
    "duplicate",
    "shadowed",
    "ambiguous",
    "foreign_folder",
    "unknown_switch",
]
"""What can be wrong. The first five stop a plugin or a part of it and are raised under `REGPLUG_STRICT=1`."""

PluginStatus = Literal["loaded", "broken", "incompatible", "disabled", "foreign_folder", "not_loaded"]


def normalized(name: str) -> str:
    """Returns a distribution's name in the form in which two spellings of it are equal.

    Source: Python packaging specification, name normalization.
    """
    return re.sub(r"[-_.]+", "-", name).lower()


def is_strict() -> bool:
    """Returns whether `REGPLUG_STRICT` asks for a plugin's fault to be raised instead of recorded."""
    return is_set("REGPLUG_STRICT")


def is_set(variable: str) -> bool:
    """Returns whether an environment variable is set to something else than 0."""
    return os.environ.get(variable, "") not in ("", "0")


@dataclass(frozen=True, kw_only=True)
class Origin:
    """Where a plugin comes from.

    Args:
        distribution: Name of its distribution; for a file or module named by hand, the module's name.
        version: Version of the distribution, or empty.
        entry: Name of the entry point.
        module: What the entry point names, `module` or `module:attribute`.
        location: Folder in which the code lies; for an editable installation, its source folder.
        editable: Whether it is an editable installation.
    """

    distribution: str
    version: str
    entry: str
    module: str
    location: str
    editable: bool = False

    @property
    def is_first_party(self) -> bool:
        """Whether it belongs to the host's own distribution."""
        return normalized(self.distribution) == FIRST_PARTY

    def __str__(self) -> str:
        version = f" {self.version}" if self.version else ""
        return f"plugin {self.entry!r} of distribution {self.distribution}{version}"


@dataclass(frozen=True, kw_only=True)
class Registered:
    """A component and where it comes from.

    Args:
        component: The descriptor.
        origin: The plugin that offers it.
        is_user_code: Whether it was named by path instead of offered by a plugin.
        given: What its target would name, where the caller has handed it over as an object.
    """

    component: Component
    origin: Origin
    is_user_code: bool = False
    given: Any = None

    @property
    def kind(self) -> str:
        """Kind of the component."""
        return self.component.kind

    @property
    def name(self) -> str:
        """Short name of the component."""
        return self.component.name

    @property
    def full_name(self) -> str:
        """`dist/name`, which is never ambiguous; for the user's own code, the code."""
        return self.component.target if self.is_user_code else f"{self.distribution}/{self.name}"

    @property
    def distribution(self) -> str:
        """Name of the distribution that offers it."""
        return self.origin.distribution

    @property
    def version(self) -> str:
        """Version of that distribution."""
        return self.origin.version

    @property
    def location(self) -> str:
        """Folder in which its code lies."""
        return self.origin.location

    @property
    def editable(self) -> bool:
        """Whether it comes from an editable installation."""
        return self.origin.editable

    @property
    def entry(self) -> str:
        """Name of the entry point that offers it."""
        return self.origin.entry

    @property
    def provenance(self) -> str:
        """`dist:name@version`, as it is logged with a run; for the user's own code, the code."""
        if self.is_user_code:
            return self.component.target
        version = f"@{self.version}" if self.version else ""
        return f"{self.distribution}:{self.name}{version}"


@dataclass(frozen=True, kw_only=True)
class Problem:
    """A problem with a plugin, and what to do about it.

    Args:
        distribution: Whose fault it is; empty where it is nobody's.
        entry: The entry point; empty where the whole distribution is meant.
        what: What is wrong.
        message: What is wrong, as a sentence.
        hint: The next step.
    """

    distribution: str
    entry: str
    what: ProblemKind
    message: str
    hint: str = ""

    @property
    def is_fault(self) -> bool:
        """Whether a plugin is at fault, so that strict mode raises it."""
        return self.what in ("broken", "stale", "incompatible", "invalid", "unknown_hook")

    def __str__(self) -> str:
        return f"{self.message} {self.hint}".strip()


@dataclass(frozen=True, kw_only=True)
class PluginRecord:
    """One entry point and its outcome.

    Args:
        origin: Where it comes from.
        status: What became of it.
        import_ms: Time that its import and its hooks took, in milliseconds.
        heavy_imports: Heavy libraries that they asked for; a descriptor module needs none.
        heavy_ms: How long the import of each took, in milliseconds, where that was measured in this process. Only the
            first plugin that asks pays for it, and each would if it were alone.
        paid: Those of them whose import it paid for.
    """

    origin: Origin
    status: PluginStatus
    import_ms: float = 0.0
    heavy_imports: tuple[str, ...] = ()
    heavy_ms: Mapping[str, float] = field(default_factory=dict)
    paid: tuple[str, ...] = ()

    @property
    def distribution(self) -> str:
        """Name of its distribution."""
        return self.origin.distribution

    @property
    def version(self) -> str:
        """Version of its distribution."""
        return self.origin.version

    @property
    def entry(self) -> str:
        """Name of the entry point."""
        return self.origin.entry

    @property
    def module(self) -> str:
        """What the entry point names."""
        return self.origin.module
