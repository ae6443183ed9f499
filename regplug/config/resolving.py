"""Resolving a configuration: every component with all its parameters, checked."""

from __future__ import annotations

import dataclasses
from typing import Any

from regplug.config.run_config import KIND_BY_FIELD, REPEATED_FIELDS, RunConfig
from regplug.config.schedules import parse_schedule
from regplug.params import params_to_dict
from regplug.registry import Registry, read_params
from regplug.spec import ComponentSpec


def resolve_config(config: RunConfig, registry: Registry) -> RunConfig:
    """Returns the same run with every component's parameters spelled out; the user's own code stays as it is.

    So the result means the same after a default changes. Resolving it again changes nothing.

    Raises:
        UnknownComponentError: A component is not installed.
        AmbiguousComponentError: Two third parties offer one.
        ParameterError: A parameter is unknown or not allowed.
    """
    fields: dict[str, Any] = {
        "schedule": _spelled(ComponentSpec.parse(config.schedule), parse_schedule(config.schedule))
    }
    for field, kind in KIND_BY_FIELD.items():
        texts = tuple(_resolve(spec, kind, registry) for spec in config.specs(field))
        fields[field] = texts if field in REPEATED_FIELDS else "".join(texts)
    return dataclasses.replace(config, **fields)


def _resolve(spec: ComponentSpec, kind: str, registry: Registry) -> str:
    if spec.code is not None:
        return str(spec)
    found = registry.find(kind, spec)
    if (kind, spec.name) in registry.pins and registry.spelling(found) != spec.name:
        # A pin is no part of the run: elsewhere the short name would mean another component, or several.
        spec = dataclasses.replace(spec, distribution=found.distribution)
    return _spelled(spec, read_params(found, spec.values))


def _spelled(spec: ComponentSpec, params: Any) -> str:
    values = {name: "none" if value is None else value for name, value in params_to_dict(params).items()}
    return str(spec.with_values(values))
