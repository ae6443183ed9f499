"""The registry as a command's switches ask for it."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any

from regplug.cli.output import warn
from regplug.registry import Registry, configured_switches, default_registry, load_registry


def registry_of(given: Mapping[str, Any], *, tells_unknown: bool = True) -> Registry:
    """Returns the registry under `--disable` and `--plugin` and what the configuration files say.

    Args:
        given: The command's flags.
        tells_unknown: Whether it is told on stderr that a switch names what is not there, or what is broken.

    Raises:
        RequestError: A plugin was named by a path that does not exist, or a configuration file is wrong.
    """
    disable, plugins = tuple(given.get("disable") or ()), tuple(given.get("plugin") or ())
    registry = load_registry(configured_switches(disable, plugins)) if disable or plugins else default_registry()
    if tells_unknown:
        asked = {*plugins, *(Path(plugin).stem for plugin in plugins)}
        told = [p for p in registry.problems if p.what == "unknown_switch" or (p.is_fault and p.distribution in asked)]
        warn([str(problem) for problem in told])
    return registry
