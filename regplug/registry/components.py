"""The components that a configuration names: found, checked, and written out with every parameter. Needs no torch."""

from __future__ import annotations

import dataclasses
from dataclasses import dataclass
from typing import Any

from regplug.config.params import params_to_dict
from regplug.config.run_config import KIND_BY_FIELD, REPEATED_FIELDS, RunConfig
from regplug.config.schedules import parse_schedule
from regplug.config.spec import ComponentSpec
from regplug.registry import Registered, Registry, read_params


@dataclass(frozen=True, kw_only=True)
class Chosen:
    """One component of a run, with its parameters.

    Args:
        spec: As the user wrote it.
        registered: What it means and where it comes from.
        params: Its parameters, all of them.
    """

    spec: ComponentSpec
    registered: Registered
    params: Any


@dataclass(frozen=True, kw_only=True)
class Components:
    """Every component of a run, found and with checked parameters; torch is not needed for it."""

    model: Chosen
    dataset: Chosen
    init: Chosen
    activation: Chosen | None
    regs: tuple[Chosen, ...]
    probes: tuple[Chosen, ...]
    formats: tuple[Chosen, ...]

    def all(self) -> tuple[Chosen, ...]:
        """All of them, for provenance."""
        alone = (self.model, self.dataset, self.init, *((self.activation,) if self.activation else ()))
        return (*alone, *self.regs, *self.probes, *self.formats)


def find_components(config: RunConfig, registry: Registry) -> Components:
    """Finds every component that a configuration names.

    Raises:
        UnknownComponentError: A component is not installed.
        ParameterError: A parameter is unknown or not allowed.
    """

    def chosen(field: str, kind: str) -> tuple[Chosen, ...]:
        found = []
        for spec in config.specs(field):
            registered = registry.find(kind, spec)
            found.append(Chosen(spec=spec, registered=registered, params=read_params(registered, spec.values)))
        return tuple(found)

    activation = chosen("activation", "activation")
    return Components(
        model=chosen("model", "model")[0],
        dataset=chosen("dataset", "dataset")[0],
        init=chosen("init", "initializer")[0],
        activation=activation[0] if activation else None,
        regs=chosen("reg", "regularizer"),
        probes=chosen("probe", "probe"),
        formats=chosen("format", "format") if config.export else (),
    )


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
