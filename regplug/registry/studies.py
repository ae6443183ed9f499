"""The installed studies of the lab, by the names that users type. Imports nothing heavy."""

from __future__ import annotations

from regplug.api import Study
from regplug.errors import UnknownComponentError, did_you_mean
from regplug.registry import default_registry
from regplug.registry.records import Registered
from regplug.registry.resolve import Registry


def typed(name: str) -> str:
    """Returns a study's name as users type it.

    >>> typed("weight_decay")
    'weight-decay'
    """
    return name.replace("_", "-")


def installed_studies(registry: Registry | None = None) -> dict[str, Registered]:
    """Returns the studies by the name that users type, in the order in which their plugins yield them.

    Args:
        registry: The installed components; by default all that are installed.
    """
    known = registry or default_registry()
    return {typed(known.spelling(one)): one for one in known.collected if one.kind == Study.kind}


def find_study(name: str, registry: Registry | None = None) -> Registered:
    """Returns a study.

    Args:
        name: Its name with hyphens or underscores, or `dist/name`.
        registry: As for `installed_studies`.

    Raises:
        UnknownComponentError: There is none; the hint names the near ones.
    """
    known = installed_studies(registry)
    if typed(name) not in known:
        hint = f"{did_you_mean(typed(name), known)} `regplug lab list` lists the studies."
        raise UnknownComponentError(f"There is no study {name}.", hint=hint)
    return known[typed(name)]
