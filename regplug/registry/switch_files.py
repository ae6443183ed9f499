"""`regplug.toml`: what is loaded and whose component a name means, in the current folder and for this user.

    [plugins]
    allow = ["regplug-mine", "regplug-big/regularizers"]
    disable = ["regplug-slow"]

    [plugins.pins.regularizer]
    dropblock = "regplug-mine"

A file in the current folder may be anybody's, so neither file can load anything: an allow-list, a disabled name and a
pin only narrow what is installed.
"""

from __future__ import annotations

import os
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

from regplug.api import KINDS
from regplug.errors import RequestError, did_you_mean
from regplug.registry.switches import FileSwitches, Pins, Switches

FILE_NAME = "regplug.toml"

_KEYS = ("allow", "disable", "pins")


def configured_switches(disable: tuple[str, ...] = (), plugins: tuple[str, ...] = ()) -> Switches:
    """Returns the switches of the command line together with those of the configuration files.

    Args:
        disable: See `Switches`.
        plugins: See `Switches`.

    Raises:
        RequestError: A file cannot be read or says what it cannot say.
    """
    files = tuple(read_switches(file) for file in switch_files() if file.is_file())
    return Switches(disable=disable, plugins=plugins, files=files)


def switch_files() -> Iterator[Path]:
    """Yields where a configuration file may lie, the nearest first: the current folder, then this user's."""
    home = os.environ.get("XDG_CONFIG_HOME") or Path.home() / ".config"
    for place in dict.fromkeys((Path.cwd(), Path(home, "regplug"))):
        yield place / FILE_NAME


def read_switches(file: Path) -> FileSwitches:
    """Returns what a configuration file says of plugins.

    Raises:
        RequestError: It cannot be read, or a key or value is not allowed.
    """
    import tomllib  # most folders have no such file

    try:
        data = tomllib.loads(file.read_text(encoding="utf-8"))
    except (OSError, ValueError) as error:
        raise RequestError(f"{file} cannot be read: {error}.") from error
    _require_known(data, ("plugins",), str(file))
    table = _table(data.get("plugins", {}), f"{file}: plugins")
    _require_known(table, _KEYS, f"{file}: plugins")
    return FileSwitches(
        file=str(file),
        allow=_names(table["allow"], f"{file}: plugins.allow") if "allow" in table else None,
        disable=_names(table.get("disable", []), f"{file}: plugins.disable"),
        pins=_pins(_table(table.get("pins", {}), f"{file}: plugins.pins"), f"{file}: plugins.pins"),
    )


def _pins(table: Mapping[str, Any], where: str) -> Pins:
    _require_known(table, KINDS, where)
    pins: dict[tuple[str, str], str] = {}
    for kind, names in table.items():
        for name, distribution in _table(names, f"{where}.{kind}").items():
            if not isinstance(distribution, str):
                raise RequestError(
                    f"{where}.{kind}.{name} is {distribution!r}.", hint="Give the name of a distribution as a string."
                )
            pins[kind, name] = distribution
    return pins


def _require_known(table: Mapping[str, Any], known: Any, where: str) -> None:
    for key in table:
        if key not in known:
            raise RequestError(f"{where}: {key} is unknown.", hint=did_you_mean(key, known))


def _table(value: Any, where: str) -> Mapping[str, Any]:
    if not isinstance(value, dict):
        raise RequestError(f"{where} is {value!r}.", hint="Write a table; see the example in docs/plugins.md.")
    return value


def _names(value: Any, where: str) -> tuple[str, ...]:
    if not isinstance(value, list) or not all(isinstance(name, str) for name in value):
        raise RequestError(f"{where} is {value!r}.", hint='Write a list of strings, such as ["regplug-mine"].')
    return tuple(value)
