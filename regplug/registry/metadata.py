"""Reads the metadata of installed distributions for plugins. No plugin code runs here."""

from __future__ import annotations

import functools
import importlib.metadata
import json
import sys
import sysconfig
from dataclasses import dataclass
from pathlib import Path
from typing import Any
from urllib.parse import unquote, urlsplit

from regplug.api import PROJECT
from regplug.registry.records import Problem, normalized


@dataclass(frozen=True, kw_only=True)
class InstalledDistribution:
    """A distribution that has regplug entry points.

    Args:
        name: Its name as it writes it.
        version: Its version.
        folder: Folder in which its metadata lie.
        source: Folder in which its code lies: the same, or the source folder of an editable installation.
        editable: Whether it is an editable installation.
        entries: Name and value of each entry point, sorted.
        requires: Its requirements, as it writes them.
    """

    name: str
    version: str
    folder: Path
    source: Path
    editable: bool
    entries: tuple[tuple[str, str], ...]
    requires: tuple[str, ...]

    @property
    def is_foreign(self) -> bool:
        """Whether it merely lies in the current folder, where anybody may have put it."""
        return self.folder == Path.cwd().resolve() and self.folder not in _site_folders()


def _site_folders() -> set[Path]:
    return {Path(sysconfig.get_path(scheme)).resolve() for scheme in ("purelib", "platlib")}


def installed_distributions(folder: Path | None = None) -> tuple[list[InstalledDistribution], list[Problem]]:
    """Returns the distributions with regplug entry points, and what is wrong with those that cannot be read.

    Args:
        folder: Where to look; `None` for the whole search path, in its order.
    """
    found, problems = [], []
    for distribution in importlib.metadata.distributions(path=sys.path if folder is None else [str(folder)]):
        try:
            if PROJECT in (distribution.read_text("entry_points.txt") or ""):
                found.append(_read(distribution))
        except Exception as error:  # damaged metadata raise whatever their parsers raise
            problems.append(_unreadable(distribution, error))
    return [one for one in found if one.entries], problems


def _unreadable(distribution: importlib.metadata.Distribution, error: Exception) -> Problem:
    folder = Path(str(distribution.locate_file("")))
    return Problem(
        distribution="",
        entry="",
        what="broken",
        message=f"The metadata of a distribution in {folder} cannot be read: {type(error).__name__}: {error}.",
        hint="Reinstall it.",
    )


def _read(distribution: importlib.metadata.Distribution) -> InstalledDistribution:
    entries = sorted((entry.name, entry.value) for entry in distribution.entry_points.select(group=PROJECT))
    folder = Path(str(distribution.locate_file(""))).resolve()
    source = _editable_source(distribution)
    metadata: Any = distribution.metadata  # parsed anew at each access; typeshed leaves out its get
    name = metadata.get("Name")  # the backport that mlflow brings raises at an absent key
    if not name:
        raise ValueError(f"the distribution with the entry points {', '.join(dict(entries))} has no name")
    return InstalledDistribution(
        name=name,
        version=metadata.get("Version") or "",
        folder=folder,
        source=source or folder,
        editable=source is not None,
        entries=tuple(entries),
        requires=tuple(distribution.requires or ()),
    )


def _editable_source(distribution: importlib.metadata.Distribution) -> Path | None:
    """The source folder of an editable installation, else None. Source: PEP 610."""
    try:
        url = json.loads(distribution.read_text("direct_url.json") or "{}")
        if not url.get("dir_info", {}).get("editable"):
            return None
        return Path(unquote(urlsplit(url["url"]).path))
    except (ValueError, KeyError, AttributeError):
        return None  # a damaged record says nothing about where the code lies


@functools.cache
def host_version() -> str:
    """Returns the installed version of the host; empty if it is not installed."""
    try:
        return importlib.metadata.version(PROJECT)
    except importlib.metadata.PackageNotFoundError:
        return ""


def incompatibility(requires: tuple[str, ...], version: str) -> str:
    """Returns the requirement that this version of the host does not meet, or empty.

    Args:
        requires: Requirements as `Requires-Dist` writes them.
        version: Version of the host; empty where it is not known, which meets everything.
    """
    about_host = [text for text in requires if normalized(text).startswith(PROJECT)]
    if not about_host or not version:
        return ""
    from packaging.requirements import InvalidRequirement, Requirement  # most distributions do not name the host

    for text in about_host:
        try:
            requirement = Requirement(text)
        except InvalidRequirement:
            return text
        applies = requirement.marker is None or requirement.marker.evaluate({"extra": ""})
        is_host = normalized(requirement.name) == PROJECT
        if is_host and applies and not requirement.specifier.contains(version, prereleases=True):
            return text
    return ""
