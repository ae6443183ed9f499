"""What a caller has given to a function."""

from __future__ import annotations

import dataclasses
from collections.abc import Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Any

from regplug.config import RunConfig, load_config
from regplug.registry import default_registry

if TYPE_CHECKING:
    from regplug.registry import Registry
    from regplug.studies.engine import Study


def read_run(arguments: Mapping[str, Any]) -> tuple[RunConfig, Registry]:
    """Returns the configuration of a run, and the registry with the caller's objects.

    Args:
        arguments: The arguments of `regplug.run` by name; `None` for a field that was not given.
    """
    from regplug.runs.caller_objects import take_over

    given = _given(arguments, RunConfig) | {"weights": arguments["weights"]}
    flags, known = take_over(given, arguments["registry"] or default_registry())
    return load_config(_config(arguments), arguments["overrides"], flags, suggest=known.settings_of), known


def read_study(kind: str, arguments: Mapping[str, Any]) -> Study:
    """Returns a study.

    Args:
        kind: `sweep` or `cv`.
        arguments: The arguments of its function by name; `None` for a field that was not given.
    """
    from regplug.runs.caller_objects import take_over
    from regplug.studies.design.config import StudyConfig, load_study
    from regplug.studies.engine import Study

    given = {**_given(arguments, RunConfig), **_given(arguments, StudyConfig), "weights": arguments["weights"]}
    flags, known = take_over(given, arguments["registry"] or default_registry())
    asked = load_study(_config(arguments), arguments["overrides"], flags, kind=kind, suggest=known.settings_of)
    return Study(asked, kind=kind, registry=known)


def _given(arguments: Mapping[str, Any], cls: type) -> dict[str, Any]:
    names = [field.name for field in dataclasses.fields(cls)]
    return {name: arguments[name] for name in names if arguments.get(name) is not None}


def _config(arguments: Mapping[str, Any]) -> Path | None:
    return None if arguments["config"] is None else Path(arguments["config"])
