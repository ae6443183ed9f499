"""The registry: which components are installed, where they come from, and what is wrong with them.

    scan -> load -> collect -> resolve -> build

Scan reads metadata only; load imports the torch-free descriptor modules one by one; collect asks each hook alone;
resolve finds a name; build is the one that imports what a component is made of. A broken
plugin is a `Problem`, never the end.
"""

from __future__ import annotations

import functools

from regplug.registry.building import build, load_target, read_params, takes_keywords
from regplug.registry.collect import collect
from regplug.registry.loading import load, raise_if_strict
from regplug.registry.records import Origin, PluginRecord, Problem, Registered, Switches
from regplug.registry.resolve import Registry
from regplug.registry.scan import scan


def load_registry(switches: Switches | None = None) -> Registry:
    """Returns the registry under these switches.

    Args:
        switches: What is loaded; `None` for all that is installed.

    Raises:
        RequestError: A plugin was named by a path that does not exist.
        PluginError: A plugin is at fault and `REGPLUG_STRICT` is set.
    """
    found = scan(switches or Switches())
    components: list[Registered] = []
    plugins, problems = list(found.skipped), list(found.problems)
    for candidate in found.candidates:
        loaded = load(candidate)
        plugins.append(loaded.record)
        if loaded.problem is not None:
            problems.append(loaded.problem)
        if loaded.plugin is not None:
            collection = collect(candidate.origin, loaded.plugin, components)
            components += collection.components
            problems += collection.problems
    for problem in problems:
        raise_if_strict(problem)
    plugins.sort(key=lambda record: (record.distribution.lower(), record.entry))
    return Registry(tuple(components), tuple(plugins), tuple(problems))


@functools.cache
def default_registry() -> Registry:
    """Returns the registry of all that is installed; loaded once."""
    return load_registry()


__all__ = [
    "Origin",
    "PluginRecord",
    "Problem",
    "Registered",
    "Registry",
    "Switches",
    "build",
    "default_registry",
    "load_registry",
    "load_target",
    "read_params",
    "takes_keywords",
]
