"""The registry for the switches of a command."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any

from regplug.cli.output import warn
from regplug.registry import Registry, configured_switches, default_registry, load_registry


def registry_of(given: Mapping[str, Any], *, tells_unknown: bool = True) -> Registry:
    """Returns the registry for `--disable`, `--plugin` and the configuration files.

    Args:
        given: The command's flags.
        tells_unknown: Whether to warn on stderr if a switch names something unknown or broken.

    Raises:
        RequestError: The path of a plugin does not exist, or a configuration file is wrong.
    """
    disable, plugins = tuple(given.get("disable") or ()), tuple(given.get("plugin") or ())
    registry = load_registry(configured_switches(disable, plugins)) if disable or plugins else default_registry()
    if tells_unknown:
        asked = {*plugins, *(Path(plugin).stem for plugin in plugins)}
        told = [p for p in registry.problems if p.what == "unknown_switch" or (p.is_fault and p.distribution in asked)]
        warn([str(problem) for problem in told])
    return registry
