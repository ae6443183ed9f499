"""Decides which parameters of a run MLflow's pages show: those that somebody chose."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from regplug.config import KIND_BY_FIELD, SHORTHANDS, Fold, RunConfig
from regplug.config.params import describe_params
from regplug.config.ramps import Ramp
from regplug.registry.components import Chosen, Components
from regplug.tracking.naming import flatten, safe_key

NOT_PARAMETERS = (
    *(
        "reg",
        "probe",
        "format",
        "out",
        "name",
        "experiment",
        "export",
        "calibrate",
        "conformal",
        "threads",
        "fold",
        "checkpoint_every",
        "keep_predictions",
        "system_metrics",
    ),
    *SHORTHANDS,
)
"""Fields of a run that are not parameters."""

_ALWAYS = ("model", "dataset", "regularizers", "seed")


def shown_params(config: RunConfig, parts: Components) -> frozenset[str]:
    """Returns the parameters that say what a run is, those chosen or not at their defaults, and all strengths.

    Args:
        config: The run.
        parts: Its components.
    """
    default, chosen = RunConfig(), config.chosen
    fields = [name for name in config.to_dict() if name not in (*NOT_PARAMETERS, *KIND_BY_FIELD)]
    found = [*_ALWAYS, *fold_params(config), *off_values(parts)]
    found += [name for name in fields if name in chosen or getattr(config, name) != getattr(default, name)]
    for column in ("activation", "init", "loss", "optimizer", "schedule"):
        names = [[spec.name for spec in each.specs(column)] for each in (config, default)]
        found += [column] if column in chosen or (names[0] and names[0] != names[1]) else []
    for column, one in _columns(parts):
        found += [f"{column}.{name}" for name in (*flatten(one.changed().values), *ends_of(one))]
        path = f"init.{one.spec.key}" if column == "init" else column
        named = {name: value for name, value in one.values().items() if f"{path}.{name}" in chosen}
        found += [f"{column}.{name}" for name in flatten(named)]
    return frozenset(map(safe_key, found))


def _columns(parts: Components) -> list[tuple[str, Chosen]]:
    alone: dict[str, Chosen | None] = {
        "model": parts.model,
        "dataset": parts.dataset,
        "activation": parts.activation,
        "loss": parts.loss,
        "optimizer": parts.optimizer,
        "schedule": parts.schedule,
    }
    found = [(column, one) for column, one in alone.items() if one is not None]
    found += [(f"reg.{one.spec.key}", one) for one in parts.regs]
    is_one = len(parts.inits) == 1
    return [*found, *(("init" if is_one else f"init.{one.spec.key}", one) for one in parts.inits)]


def fold_params(config: RunConfig) -> dict[str, object]:
    """Returns fold and repeat of a run that is validated on one fold."""
    fold = Fold.parse(config.fold) if config.fold else None
    return {} if fold is None else {"fold": fold.index, "repeat": fold.repeat}


def ends_of(chosen: Chosen) -> dict[str, object]:
    """Returns the first and last value of each number that changes over the run."""
    fields: dict[str, Any] = {} if isinstance(chosen.params, Mapping) else vars(chosen.params)
    ramps = {name: value for name, value in fields.items() if isinstance(value, Ramp)}
    return {f"{name}.{end}": getattr(ramp, end) for name, ramp in ramps.items() for end in ("first", "last")}


def off_values(components: Components) -> dict[str, object]:
    """Returns for each number of the regularizers that can be off, as a column, the value at which it has no effect."""
    classes: dict[str, type] = {reg.spec.key: type(reg.params) for reg in components.regs}
    return {
        safe_key(f"reg.{key}.{info.name}"): info.off
        for key, cls in classes.items()
        for info in describe_params(cls)
        if info.off is not None
    }
