"""The name, parameters and tags of a run in its tracking store."""

from __future__ import annotations

import functools
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import torch

from regplug.config import SHORTHANDS, Fold, RunConfig
from regplug.config.commands import command_of
from regplug.config.params import describe_params
from regplug.config.ramps import Ramp
from regplug.registry import default_registry
from regplug.registry.components import Chosen, Components
from regplug.runs.data_facts import DataFacts
from regplug.runs.doubts import WARNINGS_TAG
from regplug.tracking.naming import note, provenance_tags, run_name, run_params, safe_key

_NOT_PARAMETERS = (
    *(
        "reg",
        "probe",
        "format",
        "out",
        "name",
        "experiment",
        "export",
        "threads",
        "fold",
        "checkpoint_every",
        "keep_predictions",
    ),
    *SHORTHANDS,
)


@dataclass(frozen=True, kw_only=True)
class Description:
    """A run as the tracking store shows it.

    Args:
        experiment: The question it belongs to.
        name: What differs, readable.
        params: Flat, numbers as numbers.
        tags: Provenance, machine, note.
    """

    experiment: str
    name: str
    params: Mapping[str, object]
    tags: Mapping[str, str]


def describe_run(
    config: RunConfig,
    parts: Components,
    *,
    data: DataFacts,
    warnings: tuple[str, ...] = (),
    fold: str = "",
) -> Description:
    """Describes a run.

    Args:
        config: What was asked for.
        parts: Its components, for the task of its data.
        data: What tells its data.
        warnings: What is legal and doubtful.
        fold: The fold as text, or empty.
    """
    model, dataset = parts.model.registered.name, parts.dataset.registered.name
    regs = [(reg.spec.key, reg.values() | _ends(reg)) for reg in parts.regs]
    alone = {
        "activation": parts.activation,
        "loss": parts.loss,
        "optimizer": parts.optimizer,
        "schedule": parts.schedule,
    }
    # A blank would be no value in MLflow's table.
    others = {column: (one.registered.name, one.values()) if one else ("default", {}) for column, one in alone.items()}
    others["init"] = _initializers(parts.inits)
    fields = {name: value for name, value in config.to_dict().items() if name not in _NOT_PARAMETERS}
    name = config.name or run_name(model, [str(reg.changed()) for reg in parts.regs], config.seed)
    name = f"{name} {fold}".strip()
    training = f"{parts.optimizer.changed()}, lr {config.lr:g}, {config.epochs} epochs, seed {config.seed}"
    provenance = [
        (c.registered.kind, c.registered.name, c.registered.distribution, c.registered.version) for c in parts.all()
    ]
    tags = {
        "system/threads": str(torch.get_num_threads()),
        **provenance_tags(provenance),
        **data.tags(),
        **note(
            title=name,
            model=model,
            dataset=dataset,
            regularizers=", ".join(str(reg.changed()) for reg in parts.regs),
            training=training,
            command=command_of(config),
        ),
    }
    if warnings:
        tags[WARNINGS_TAG] = " ".join(warnings)
    return Description(
        experiment=config.experiment or f"{dataset}/{model}",
        name=name,
        params={
            **run_params(
                fields,
                model=(model, parts.model.values()),
                dataset=(dataset, parts.dataset.values()),
                regularizers=regs,
                others=others,
            ),
            **_absent({reg.spec.key for reg in parts.regs}),
            **_fold_params(config),
        },
        tags=tags,
    )


def _fold_params(config: RunConfig) -> dict[str, object]:
    fold = Fold.parse(config.fold) if config.fold else None
    return {} if fold is None else {"fold": fold.index, "repeat": fold.repeat}


def _initializers(inits: Sequence[Chosen]) -> tuple[str, dict[str, Any]]:
    """Names joined by +, and parameters: of several initializers under the name of each."""
    names = "+".join(one.spec.key for one in inits) or "default"
    if len(inits) == 1:
        return names, inits[0].values()
    return names, {one.spec.key: one.values() for one in inits}


def _ends(chosen: Chosen) -> dict[str, object]:
    """Returns the first and last value of each number that changes over the run."""
    fields = {} if isinstance(chosen.params, Mapping) else vars(chosen.params)
    ramps = {name: value for name, value in fields.items() if isinstance(value, Ramp)}
    return {f"{name}.{end}": getattr(ramp, end) for name, ramp in ramps.items() for end in ("first", "last")}


def _absent(present: set[str]) -> dict[str, object]:
    """For each regularizer that is not in the run the numbers at which it changes nothing.

    The compare page plots a parameter that a run lacks as a value beyond the greatest; so every run has the column.
    """
    return {column: off for name, column, off in _installed_off_values() if name not in present}


@functools.cache
def _installed_off_values() -> tuple[tuple[str, str, object], ...]:
    """Regularizer, column and value of each number that is installed and can be off."""
    return tuple(
        (one.name, safe_key(f"reg.{one.name}.{info.name}"), info.off)
        for one in default_registry().components("regularizer")
        for info in describe_params(one.component.params)
        if info.off is not None
    )


def off_values(components: Components) -> dict[str, object]:
    """For each stackable number of the regularizers, as a column, the value at which it changes nothing."""
    classes: dict[str, type] = {reg.spec.key: type(reg.params) for reg in components.regs}
    return {
        safe_key(f"reg.{key}.{info.name}"): info.off
        for key, cls in classes.items()
        for info in describe_params(cls)
        if info.off is not None
    }
