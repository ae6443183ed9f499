"""The switches that decide which plugins are loaded, from metadata alone, before a plugin is imported."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass, field

from regplug.registry.records import Origin, is_set, normalized

Pins = Mapping[tuple[str, str], str]
"""Distribution by kind and name: whose component a name means that several offer."""


@dataclass(frozen=True, kw_only=True)
class FileSwitches:
    """The `[plugins]` table of a `regplug.toml`. It can forbid and choose plugins, but never load additional ones.

    Args:
        file: Path of the file.
        allow: `dist` or `dist/entry` of the only third-party plugins that are loaded; `None` for all of them.
        disable: Names of entries or distributions, or `dist/entry`, that are not loaded.
        pins: The distribution whose component a name means.
    """

    file: str
    allow: tuple[str, ...] | None = None
    disable: tuple[str, ...] = ()
    pins: Pins = field(default_factory=dict)


@dataclass(frozen=True, kw_only=True)
class Switches:
    """Which plugins are loaded; decided before a plugin is imported.

    Args:
        disable: Names of entries or distributions, or `dist/entry`, that are not loaded.
        plugins: Additional plugins: names of installed distributions or entries, paths of a file or package, a
            folder that contains a distribution, or module names.
        autoload: Whether installed third parties are loaded without being named. The host's own distribution always is.
        files: Contents of the configuration files, the nearest first.
    """

    disable: tuple[str, ...] = ()
    plugins: tuple[str, ...] = ()
    autoload: bool = True
    files: tuple[FileSwitches, ...] = ()

    @property
    def effective_autoload(self) -> bool:
        """Whether third parties are loaded unnamed; `REGPLUG_DISABLE_PLUGIN_AUTOLOAD` can only forbid it."""
        return self.autoload and not is_set("REGPLUG_DISABLE_PLUGIN_AUTOLOAD")

    @property
    def pins(self) -> Pins:
        """The distribution whose component a name means; the nearest file wins."""
        return {key: name for one in reversed(self.files) for key, name in one.pins.items()}

    def disables(self, origin: Origin) -> bool:
        """Returns whether a plugin is switched off."""
        names = [*self.disable, *(name for one in self.files for name in one.disable)]
        return any(name == origin.entry or names_plugin(name, origin) for name in names)

    def allows(self, origin: Origin) -> bool:
        """Returns whether every existing allow-list includes a plugin. The host's own distribution needs none."""
        lists = (one.allow for one in self.files if one.allow is not None)
        return origin.is_first_party or all(any(names_plugin(name, origin) for name in each) for each in lists)

    def unknown_names(self, origins: Iterable[Origin]) -> Iterator[tuple[str, str]]:
        """Yields the place and the name of each entry that matches no plugin."""
        there = list(origins)
        for where, name in self._names():
            is_entry = any(name == origin.entry for origin in there) and not where.endswith("allow")
            if not is_entry and not any(names_plugin(name, origin) for origin in there):
                yield where, name

    def _names(self) -> Iterator[tuple[str, str]]:
        yield from (("--disable", name) for name in self.disable)
        for one in self.files:
            yield from ((f"{one.file}, plugins.disable", name) for name in one.disable)
            yield from ((f"{one.file}, plugins.allow", name) for name in one.allow or ())


def names_plugin(text: str, origin: Origin) -> bool:
    """Returns whether `dist` or `dist/entry` means a plugin. An entry alone does not: anyone may use its name."""
    distribution, slash, entry = text.partition("/")
    is_distribution = normalized(distribution) == normalized(origin.distribution)
    return is_distribution and (not slash or entry == origin.entry)
