"""Finds and checks the components of a configuration, and writes out all their parameters. Needs no torch."""

from __future__ import annotations

import dataclasses
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, cast

from regplug.api import Initializer, Loss, Model, Optimizer, Regularizer, Task, TaskKind
from regplug.config.params import params_to_dict
from regplug.config.run_config import KIND_BY_FIELD, NO_COMPONENT, REPEATED_FIELDS, SHORTHANDS, RunConfig
from regplug.config.spec import ComponentSpec
from regplug.errors import ParameterError, UnknownComponentError
from regplug.registry import Registered, Registry, construct, read_params, takes_keywords

_MayStack = Model | Regularizer | Optimizer


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

    def build(self, *args: Any) -> Any:
        """Returns the built component.

        Args:
            args: What the kind's target takes after the parameters; see `regplug.api`.

        Raises:
            PluginError: The target could not be imported, or raised.
        """
        return construct(self.registered, self.params, self.spec.values, *args)

    def values(self) -> dict[str, Any]:
        """Returns all its parameters as JSON types."""
        return dict(self.params) if isinstance(self.params, Mapping) else params_to_dict(self.params)

    def changed(self) -> ComponentSpec:
        """Returns it with only those parameters that are not at their defaults."""
        values = self.values()
        if not isinstance(self.params, Mapping):
            defaults = params_to_dict(type(self.params)())
            values = {name: value for name, value in values.items() if value != defaults[name]}
        return self.spec.with_values(values)


@dataclass(frozen=True, kw_only=True)
class Components:
    """Every component of a run, with checked parameters; needs no torch.

    Args:
        model: The network.
        dataset: What it is trained on.
        inits: How it starts: at most one rule for all layers, and rules for some.
        activation: The network's activation; `None` for its own default.
        optimizer: How parameters move.
        schedule: How the learning rate changes.
        loss: The data loss; `None` for the default of the task, which `for_task` finds.
        regs: Regularizers.
        probes: Measurements.
        formats: Export formats.
        losses: All losses that are installed.
    """

    model: Chosen
    dataset: Chosen
    inits: tuple[Chosen, ...]
    optimizer: Chosen
    schedule: Chosen
    activation: Chosen | None
    loss: Chosen | None
    regs: tuple[Chosen, ...]
    probes: tuple[Chosen, ...]
    formats: tuple[Chosen, ...]
    losses: tuple[Registered, ...]

    def for_task(self, task: Task) -> Components:
        """Returns the same components with a loss for the task: the chosen one, or the task's default.

        Raises:
            ParameterError: The loss that was chosen is for another task.
            UnknownComponentError: No loss is installed that is a default for the task.
        """
        loss = self.loss or default_loss(self.losses, task.kind)
        tasks = cast(Loss, loss.registered.component).tasks
        if task.kind not in tasks:
            fitting = [one.name for one in self.losses if task.kind in cast(Loss, one.component).tasks]
            raise ParameterError(
                f"loss={loss.spec.name} is for a {' or '.join(tasks)}, but the dataset is a {task.words}.",
                hint=f"Use {', '.join(fitting)}.",
            )
        return dataclasses.replace(self, loss=loss)

    @property
    def start_sees_data(self) -> bool:
        """Whether the initial weights depend on the training rows."""
        return any(cast(Initializer, one.registered.component).sees_batch for one in self.inits)

    def why_single(self) -> str:
        """Returns why runs with these components cannot be stacked; empty if they can."""
        if takes_keywords(self.optimizer.registered):
            return f"{self.optimizer.registered.full_name} is a torch.optim optimizer, with one rate for all runs"
        asked = (self.model, *self.regs, self.optimizer)
        alone = [one for one in asked if not cast(_MayStack, one.registered.component).stackable]
        return "; ".join(f"{one.spec.key} declares that it cannot be stacked{_reason(one)}" for one in alone)

    def all(self) -> tuple[Chosen, ...]:
        """Returns all of them, for provenance."""
        named = (self.model, self.dataset, self.activation, self.loss, self.optimizer, self.schedule)
        return (*(one for one in named if one is not None), *self.inits, *self.regs, *self.probes, *self.formats)


def _reason(one: Chosen) -> str:
    reason = getattr(one.registered.component, "why_single", "")
    return f": {reason}" if reason else ""


def find_components(config: RunConfig, registry: Registry) -> Components:
    """Finds every component that a configuration names.

    Raises:
        UnknownComponentError: A component is not installed.
        ParameterError: A parameter is unknown or not allowed.
    """
    fields = [field for field in KIND_BY_FIELD if config.export or field != "format"]
    return _components(_find_all(config, registry, fields, {}), config, registry)


def resolve(
    config: RunConfig, registry: Registry, installed: Mapping[str, Sequence[Chosen]] | None = None
) -> tuple[RunConfig, Components]:
    """Returns a run's components, and the run with their parameters spelled out; see `resolve_config`.

    Args:
        config: The run.
        registry: What is installed.
        installed: Field -> its installed components in their order, if they were found before; these are not read
            again.

    Raises:
        UnknownComponentError: A component is not installed.
        AmbiguousComponentError: Two third parties offer one.
        ParameterError: A parameter is unknown or not allowed.
    """
    found = {
        field: tuple(dataclasses.replace(one, spec=_spelled_out(one, registry)) for one in chosen)
        for field, chosen in _find_all(config, registry, KIND_BY_FIELD, installed or {}).items()
    }
    specs = {field: tuple(one.spec for one in chosen) for field, chosen in found.items()}
    return _with_specs(config, specs), _components(found, config, registry)


def _find_all(
    config: RunConfig, registry: Registry, fields: Iterable[str], installed: Mapping[str, Sequence[Chosen]]
) -> dict[str, tuple[Chosen, ...]]:
    """Returns the components of these fields; only the user's own code is searched in a field that was found before."""
    found = {}
    for field in fields:
        known = iter(installed.get(field, ()))
        found[field] = tuple(
            next(known) if field in installed and spec.code is None else _find(KIND_BY_FIELD[field], spec, registry)
            for spec in config.specs(field)
        )
    return found


def _find(kind: str, asked: ComponentSpec, registry: Registry) -> Chosen:
    spec = registry.locate(kind, asked)
    registered = registry.find(kind, spec)
    return Chosen(spec=spec, registered=registered, params=read_params(registered, spec.values))


def _components(found: Mapping[str, tuple[Chosen, ...]], config: RunConfig, registry: Registry) -> Components:
    return Components(
        model=found["model"][0],
        dataset=found["dataset"][0],
        inits=found["init"],
        optimizer=found["optimizer"][0],
        schedule=found["schedule"][0],
        activation=next(iter(found["activation"]), None),
        loss=next(iter(found["loss"]), None),
        regs=found["reg"],
        probes=found["probe"],
        formats=found["format"] if config.export else (),
        losses=registry.components("loss"),
    )


def default_loss(losses: Iterable[Registered], task: TaskKind) -> Chosen:
    """Returns the loss that `auto` means: regplug's own default for the task, else the first that claims to be one.

    Raises:
        UnknownComponentError: None claims it.
    """
    claiming = [one for one in losses if task in cast(Loss, one.component).default_for]
    if not claiming:
        raise UnknownComponentError(f"No loss is the default for a {task}.", hint="Choose one with --loss NAME.")
    found = next((one for one in claiming if one.origin.is_first_party), claiming[0])
    spec = ComponentSpec(name=found.name, distribution=None if found.origin.is_first_party else found.distribution)
    return Chosen(spec=spec, registered=found, params=read_params(found, {}))


def resolve_config(config: RunConfig, registry: Registry) -> RunConfig:
    """Returns the same run with every component's parameters spelled out; the user's own code stays as it is.

    So the result means the same after a default changes. Resolving it again changes nothing.

    Raises:
        UnknownComponentError: A component is not installed.
        AmbiguousComponentError: Two third parties offer one.
        ParameterError: A parameter is unknown or not allowed.
    """
    return _with_specs(
        config,
        {
            field: tuple(
                # The user's own code is not imported for this.
                spec if spec.code is not None else _spelled_out(_find(kind, spec, registry), registry)
                for spec in config.specs(field)
            )
            for field, kind in KIND_BY_FIELD.items()
        },
    )


def _with_specs(config: RunConfig, specs: Mapping[str, tuple[ComponentSpec, ...]]) -> RunConfig:
    """Returns the run with exactly these components, in which its shorthands are applied."""
    fields: dict[str, Any] = {name: RunConfig.__dataclass_fields__[name].default for name in SHORTHANDS}
    for field, own in specs.items():
        fields[field] = own if field in REPEATED_FIELDS else own[0] if own else NO_COMPONENT[field]
    return config.replaced(**fields)


def _spelled_out(chosen: Chosen, registry: Registry) -> ComponentSpec:
    """Returns a component with all its parameters; the user's own code is returned unchanged."""
    spec, found = chosen.spec, chosen.registered
    if spec.code is not None:
        return spec
    if (found.kind, spec.name) in registry.pins and registry.spelling(found) != spec.name:
        # A pin is not part of the run: on another machine the short name could mean another component, or several.
        spec = dataclasses.replace(spec, distribution=found.distribution)
    values = {name: "none" if value is None else value for name, value in params_to_dict(chosen.params).items()}
    return spec.with_values(values)
