"""The registry: which components are installed, where they come from, and what is wrong with them.

    scan -> load -> collect -> resolve -> build

Scan reads metadata only; load imports the torch-free descriptor modules one by one; collect asks each hook alone;
resolve finds a name; build is the one that imports what a component is made of. A broken
plugin is a `Problem`, never the end.
"""

from __future__ import annotations

import dataclasses
import functools
from collections.abc import Sequence

from regplug.registry.building import build, construct, load_target, read_params, takes_keywords
from regplug.registry.collect import Collection, collect
from regplug.registry.heavy import ImportWatch
from regplug.registry.loading import load, raise_if_strict
from regplug.registry.records import Origin, PluginRecord, Problem, Registered
from regplug.registry.resolve import Registry
from regplug.registry.scan import Candidate, scan
from regplug.registry.switch_files import configured_switches
from regplug.registry.switches import FileSwitches, Switches
from regplug.registry.usercode import require_code


def load_registry(switches: Switches | None = None) -> Registry:
    """Returns the registry under these switches.

    Args:
        switches: What is loaded; `None` for what the configuration files say.

    Raises:
        RequestError: A plugin was named by a path that does not exist, or a configuration file is wrong.
        PluginError: A plugin is at fault and `REGPLUG_STRICT` is set.
    """
    switches = configured_switches() if switches is None else switches
    found = scan(switches)
    components: list[Registered] = []
    by_distribution: dict[str, list[Registered]] = {}
    plugins, problems = list(found.skipped), list(found.problems)
    for candidate in found.candidates:
        record, collection = _load(candidate, by_distribution.get(candidate.origin.distribution, ()))
        plugins.append(record)
        components += collection.components
        by_distribution.setdefault(candidate.origin.distribution, []).extend(collection.components)
        problems += collection.problems
    for problem in problems:
        raise_if_strict(problem)
    plugins.sort(key=lambda record: (record.distribution.lower(), record.entry))
    return Registry(tuple(components), tuple(plugins), tuple(problems), switches.pins)


def _load(candidate: Candidate, earlier: Sequence[Registered]) -> tuple[PluginRecord, Collection]:
    """Imports a plugin and calls its hooks, and times both."""
    with ImportWatch() as watch:
        loaded = load(candidate)
        collection = Collection(origin=candidate.origin, earlier=earlier)
        if loaded.plugin is not None:
            collection = collect(candidate.origin, loaded.plugin, earlier)
    record = dataclasses.replace(
        loaded.record, import_ms=watch.ms, heavy_imports=watch.heavy, heavy_ms=watch.heavy_ms, paid=watch.paid
    )
    if loaded.problem is not None:
        collection.problems.insert(0, loaded.problem)
    if record.heavy_imports:
        _complain_of_heavy(record, collection)
    return record, collection


def _complain_of_heavy(record: PluginRecord, collection: Collection) -> None:
    names = " and ".join(
        f"{name} ({record.heavy_ms[name]:.0f} ms)" if name in record.heavy_ms else name for name in record.heavy_imports
    )
    collection.complain(
        "heavy_import",
        f"it imports {names} whenever regplug starts.",
        "Its descriptor module should leave that to the modules that `target` names.",
    )


@functools.cache
def default_registry() -> Registry:
    """Returns the registry under what the configuration files say; loaded once."""
    return load_registry()


__all__ = [
    "FileSwitches",
    "Origin",
    "PluginRecord",
    "Problem",
    "Registered",
    "Registry",
    "Switches",
    "build",
    "configured_switches",
    "construct",
    "default_registry",
    "load_registry",
    "load_target",
    "read_params",
    "require_code",
    "takes_keywords",
]
