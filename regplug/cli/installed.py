"""The registry as a command's switches ask for it."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from regplug.registry import Registry, Switches, default_registry, load_registry


def registry_of(given: Mapping[str, Any]) -> Registry:
    """Returns the registry under `--disable` and `--plugin`.

    Raises:
        RequestError: A plugin was named by a path that does not exist.
    """
    disable, plugins = tuple(given.get("disable") or ()), tuple(given.get("plugin") or ())
    if not disable and not plugins:
        return default_registry()
    return load_registry(Switches(disable=disable, plugins=plugins))
