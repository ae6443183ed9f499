"""Loads plugins one at a time, so that a broken plugin does not affect the others."""

from __future__ import annotations

import contextlib
import importlib
import importlib.metadata
import sys
import traceback
from dataclasses import dataclass
from pathlib import Path

from regplug.api import PROJECT
from regplug.errors import PluginError
from regplug.registry.faults import is_fault
from regplug.registry.patience import PluginTimeout, patient
from regplug.registry.records import Origin, PluginRecord, Problem, is_strict
from regplug.registry.scan import Candidate
from regplug.registry.usercode import import_path


@dataclass(frozen=True, kw_only=True)
class Loaded:
    """The outcome of loading a candidate.

    Args:
        record: What became of it; its time is measured by who calls.
        plugin: The imported module or object; `None` where the import failed.
        problem: Why it failed, or `None`.
    """

    record: PluginRecord
    plugin: object | None = None
    problem: Problem | None = None


def load(candidate: Candidate) -> Loaded:
    """Imports a plugin.

    Raises:
        PluginError: The import failed and `REGPLUG_STRICT` is set; a stale installation is raised by who calls.
        KeyboardInterrupt: The user stopped it.
    """
    origin = candidate.origin
    plugin, problem = None, None
    try:
        with patient(), contextlib.redirect_stdout(sys.stderr):  # stdout belongs to the command's own document
            plugin = _import(candidate)
    except BaseException as error:
        if not is_fault(error):
            raise
        problem = _stale(candidate, error) or broken(origin, "could not be imported", error)
    record = PluginRecord(origin=origin, status="broken" if problem else "loaded")
    return Loaded(record=record, plugin=plugin, problem=problem or _stale(candidate))


def _stale(candidate: Candidate, error: BaseException | None = None) -> Problem | None:
    """The problem that an editable installation is whose source folder or module is gone, else None.

    Args:
        candidate: The plugin.
        error: What its import raised; `None` where it went well.
    """
    origin = candidate.origin
    module = origin.module.partition(":")[0]
    is_gone = not Path(origin.location).exists()
    is_missing = isinstance(error, ModuleNotFoundError) and f"{module}.".startswith(f"{error.name}.")
    if not origin.editable or candidate.path or not (is_missing or (is_gone and error is None)):
        return None
    fault = "that folder is gone" if is_gone else f"there is no module {module} any more"
    return Problem(
        distribution=origin.distribution,
        entry=origin.entry,
        what="stale",
        message=f"{origin} is an editable installation of {origin.location}, and {fault}.",
        hint=f"Install it again from where it is now, or pip uninstall {origin.distribution}.",
    )


def _import(candidate: Candidate) -> object:
    origin = candidate.origin
    if candidate.path:
        return import_path(Path(candidate.path), origin.module)
    if candidate.folder and candidate.folder not in sys.path:
        sys.path.append(candidate.folder)
    return importlib.metadata.EntryPoint(name=origin.entry, value=origin.module, group=PROJECT).load()


def broken(origin: Origin, what: str, error: BaseException) -> Problem:
    """Returns the problem that an exception in a plugin's code is, or raises it in strict mode."""
    said, where = str(error), ""
    kind = "it" if isinstance(error, PluginTimeout) else f"{type(error).__name__}:"
    if isinstance(error, SyntaxError) and error.filename:
        said, where = error.msg, f" ({error.filename}:{error.lineno})"
    elif frames := traceback.extract_tb(error.__traceback__):
        where = f" ({frames[-1].filename}:{frames[-1].lineno})"
    name = origin.entry if origin.is_first_party else origin.distribution
    problem = Problem(
        distribution=origin.distribution,
        entry=origin.entry,
        what="broken",
        message=f"{origin} {what}: {kind} {said}{where}.",
        hint=f"Repair or upgrade it, or leave it out with --disable {name}.",
    )
    if is_strict():
        raise PluginError(problem.message, hint=problem.hint) from error
    return problem


def raise_if_strict(problem: Problem) -> None:
    """Raises a plugin's fault if `REGPLUG_STRICT` is set.

    Raises:
        PluginError: It is a fault, and strict mode is on.
    """
    if problem.is_fault and is_strict():
        raise PluginError(problem.message, hint=problem.hint)
