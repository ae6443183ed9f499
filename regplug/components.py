"""The components that a configuration names, found and checked; torch is not needed for it."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

from regplug.config import RunConfig
from regplug.registry import Registered, Registry, read_params
from regplug.spec import ComponentSpec


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
