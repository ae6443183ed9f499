"""Finds the plugins and which of them may be loaded, from metadata alone. No plugin code runs here."""

from __future__ import annotations

import os
from collections.abc import Iterator
from dataclasses import dataclass, field
from pathlib import Path

from regplug.errors import RequestError, did_you_mean, some_of
from regplug.registry.metadata import InstalledDistribution, host_version, incompatibility, installed_distributions
from regplug.registry.records import (
    Origin,
    PluginRecord,
    PluginStatus,
    Problem,
    ProblemKind,
    normalized,
)
from regplug.registry.switches import Switches


@dataclass(frozen=True, kw_only=True)
class Candidate:
    """A plugin to load.

    Args:
        origin: Where it comes from.
        path: File or package folder to import it from; empty to import it by its module's name.
        folder: Folder that must be on the search path for that; empty where it is.
    """

    origin: Origin
    path: str = ""
    folder: str = ""


@dataclass(kw_only=True)
class Scan:
    """The result of a scan.

    Args:
        candidates: Plugins to load, in a fixed order.
        skipped: Plugins that are not loaded.
        problems: Problems found.
    """

    candidates: list[Candidate] = field(default_factory=list)
    skipped: list[PluginRecord] = field(default_factory=list)
    problems: list[Problem] = field(default_factory=list)

    def skip(self, origin: Origin, status: PluginStatus) -> None:
        """Records that a plugin is not loaded."""
        self.skipped.append(PluginRecord(origin=origin, status=status))

    def complain(self, what: ProblemKind, message: str, hint: str = "", origin: Origin | None = None) -> None:
        """Records a problem."""
        distribution, entry = (origin.distribution, origin.entry) if origin else ("", "")
        self.problems.append(Problem(distribution=distribution, entry=entry, what=what, message=message, hint=hint))


def scan(switches: Switches) -> Scan:
    """Returns the plugins that these switches allow, sorted by distribution and entry.

    Raises:
        RequestError: A path that was named does not exist or holds no plugin.
    """
    result = Scan()
    installed, unreadable = installed_distributions()
    result.problems += unreadable
    named = _Named.resolve(switches.plugins, installed)
    distributions = _deduplicated([*named.distributions, *installed], named, result)
    for distribution in distributions:
        for origin in _origins(distribution):
            _admit(origin, distribution, named, switches, result)
    for candidate in named.candidates:
        _add(candidate, switches, result)
    _check_names(switches, distributions, named, result)
    return result


@dataclass(frozen=True, kw_only=True)
class _Named:
    """The arguments of `--plugin`: installed names, and candidates and distributions found at paths."""

    names: frozenset[str]
    candidates: tuple[Candidate, ...]
    distributions: tuple[InstalledDistribution, ...]

    @classmethod
    def resolve(cls, texts: tuple[str, ...], installed: list[InstalledDistribution]) -> _Named:
        known = {normalized(one.name) for one in installed}
        known |= {name for one in installed for entry in one.entries for name in entry}
        names: set[str] = set()
        candidates: list[Candidate] = []
        distributions: list[InstalledDistribution] = []
        for text in texts:
            if not text.strip():
                raise RequestError("--plugin is empty.", hint=f"Known: {some_of(sorted(known))}; or a path.")
            if text in known or normalized(text) in known:
                names |= {text, normalized(text)}
            elif not _is_path(text):
                candidates.append(_module_candidate(text))
            elif found := _distributions_at(path := Path(text).expanduser().resolve()):
                distributions += found
                names |= {normalized(one.name) for one in found}
            else:
                candidates.append(_path_candidate(text, path))
        return cls(names=frozenset(names), candidates=tuple(candidates), distributions=tuple(distributions))

    def includes(self, origin: Origin) -> bool:
        return not self.names.isdisjoint({normalized(origin.distribution), origin.entry, origin.module})


def _is_path(text: str) -> bool:
    return text.endswith(".py") or text.startswith((".", "~")) or "/" in text or os.sep in text


def _distributions_at(path: Path) -> list[InstalledDistribution]:
    """The distributions in a folder; a folder with `__init__.py` is only a package."""
    is_plain_folder = path.is_dir() and not (path / "__init__.py").exists()
    return installed_distributions(path)[0] if is_plain_folder else []


def _module_candidate(module: str) -> Candidate:
    top = module.partition(".")[0]
    return Candidate(origin=Origin(distribution=top, version="", entry=module, module=module, location=""))


def _path_candidate(text: str, path: Path) -> Candidate:
    is_package = (path / "__init__.py").is_file()
    if not is_package and not path.is_file():
        what = "holds neither __init__.py nor an installed distribution" if path.is_dir() else "does not exist"
        raise RequestError(
            f"--plugin {text}: {path} {what}.",
            hint="Name a .py file, a package folder, an installed distribution or a module; "
            "install a project folder with `pip install -e` first.",
        )
    if not path.stem.isidentifier():
        raise RequestError(f"--plugin {text}: {path.stem!r} cannot be a module's name.", hint="Rename the file.")
    origin = Origin(
        distribution=path.stem, version="", entry=path.stem, module=path.stem, location=str(path.parent), editable=True
    )
    return Candidate(origin=origin, path=str(path))


def _deduplicated(
    distributions: list[InstalledDistribution], named: _Named, result: Scan
) -> list[InstalledDistribution]:
    """Keeps, for each name, the first that is not foreign, else the first; sorted by name."""
    chosen: dict[str, InstalledDistribution] = {}
    for one in sorted(distributions, key=lambda one: one.is_foreign and normalized(one.name) not in named.names):
        first = chosen.setdefault(normalized(one.name), one)
        if first.folder != one.folder and not one.is_foreign:
            result.complain(
                "duplicate",
                f"Distribution {one.name} is installed twice: {first.version} in {first.folder} is used, "
                f"{one.version} in {one.folder} is not.",
                f"Remove one: pip uninstall {one.name}.",
                next(_origins(one)),
            )
    return [chosen[name] for name in sorted(chosen)]


def _origins(distribution: InstalledDistribution) -> Iterator[Origin]:
    for entry, module in distribution.entries:
        yield Origin(
            distribution=distribution.name,
            version=distribution.version,
            entry=entry,
            module=module,
            location=str(distribution.source),
            editable=distribution.editable,
        )


def _admit(
    origin: Origin, distribution: InstalledDistribution, named: _Named, switches: Switches, result: Scan
) -> None:
    is_named = named.includes(origin)
    unmet = incompatibility(distribution.requires, host_version())
    if distribution.is_foreign and not is_named:
        result.skip(origin, "foreign_folder")
        result.complain(
            "foreign_folder",
            f"{origin} is in the current folder and was not loaded.",
            f"If you trust it, add --plugin {origin.distribution}.",
            origin,
        )
    elif not (is_named or origin.is_first_party or (switches.effective_autoload and switches.allows(origin))):
        result.skip(origin, "not_loaded")
    elif unmet and not switches.disables(origin):
        result.skip(origin, "incompatible")
        result.complain(
            "incompatible",
            f"{origin} requires {unmet!r}; this is regplug {host_version()}.",
            f"Install another version of {origin.distribution}, or of regplug.",
            origin,
        )
    else:
        is_on_path = not any(distribution is one for one in named.distributions)
        _add(Candidate(origin=origin, folder="" if is_on_path else str(distribution.folder)), switches, result)


def _add(candidate: Candidate, switches: Switches, result: Scan) -> None:
    """Adds a candidate unless it is disabled or its module was already added."""
    origin = candidate.origin
    if switches.disables(origin):
        result.skip(origin, "disabled")
        return
    first = next((other.origin for other in result.candidates if other.origin.module == origin.module), None)
    if first is None:
        result.candidates.append(candidate)
        return
    result.skip(origin, "not_loaded")
    result.complain(
        "duplicate",
        f"{origin} names the module {origin.module}, which {first} has already contributed.",
        "Keep one of the two entry points.",
        origin,
    )


def _check_names(switches: Switches, distributions: list[InstalledDistribution], named: _Named, result: Scan) -> None:
    origins = [origin for one in distributions for origin in _origins(one)]
    origins += [candidate.origin for candidate in named.candidates]
    known = {name for origin in origins for name in (origin.entry, origin.distribution)}
    for where, name in switches.unknown_names(origins):
        result.complain(
            "unknown_switch",
            f"{where} {name}: no plugin and no distribution of that name is installed.",
            did_you_mean(name, known),
        )
