"""The name, parameters and tags of a run in its tracking store."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import torch

from regplug.config import RunConfig
from regplug.config.commands import command_of
from regplug.registry.components import Chosen, Components
from regplug.runs.data_facts import DataFacts
from regplug.runs.doubts import WARNINGS_TAG
from regplug.runs.shown_params import NOT_PARAMETERS, ends_of, fold_params, off_values, shown_params
from regplug.tracking.naming import note, provenance_tags, run_name, run_params


@dataclass(frozen=True, kw_only=True)
class Description:
    """A run as the tracking store shows it.

    Args:
        experiment: The question it belongs to.
        name: What differs, readable.
        params: Flat, numbers as numbers.
        shown: Those that were chosen or differ from their defaults, the strengths of regularizers, and what the run is.
        off: The value at which it changes nothing, for each number of the regularizers that can be turned off.
        tags: Provenance, machine, note.
    """

    experiment: str
    name: str
    params: Mapping[str, object]
    shown: frozenset[str]
    off: Mapping[str, object]
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
        data: Facts about its data.
        warnings: What is allowed but doubtful about it.
        fold: The fold as text, or empty.
    """
    model, dataset = parts.model.registered.name, parts.dataset.registered.name
    name = config.name or run_name(model, _regularizers(parts), config.seed)
    name = f"{name} {fold}".strip()
    return Description(
        experiment=config.experiment or f"{dataset}/{model}",
        name=name,
        params=_params(config, parts),
        shown=shown_params(config, parts),
        off=off_values(parts),
        tags=_tags(config, parts, name, data, warnings),
    )


def _params(config: RunConfig, parts: Components) -> dict[str, object]:
    alone = {
        "activation": parts.activation,
        "loss": parts.loss,
        "optimizer": parts.optimizer,
        "schedule": parts.schedule,
    }
    # A blank would be no value in MLflow's table.
    others = {column: (one.registered.name, one.values()) if one else ("default", {}) for column, one in alone.items()}
    others["init"] = _initializers(parts.inits)
    params = run_params(
        {name: value for name, value in config.to_dict().items() if name not in NOT_PARAMETERS},
        model=(parts.model.registered.name, parts.model.values()),
        dataset=(parts.dataset.registered.name, parts.dataset.values()),
        regularizers=[(reg.spec.key, reg.values() | ends_of(reg)) for reg in parts.regs],
        others=others,
    )
    return {**params, **fold_params(config)}


def _tags(config: RunConfig, parts: Components, name: str, data: DataFacts, warnings: Sequence[str]) -> dict[str, str]:
    provenance = [
        (c.registered.kind, c.registered.name, c.registered.distribution, c.registered.version) for c in parts.all()
    ]
    description = note(
        title=name,
        model=parts.model.registered.name,
        dataset=parts.dataset.registered.name,
        regularizers=", ".join(_regularizers(parts)),
        training=f"{parts.optimizer.changed()}, lr {config.lr:g}, {config.epochs} epochs, seed {config.seed}",
        command=command_of(config),
    )
    return {
        "system/threads": str(torch.get_num_threads()),
        **provenance_tags(provenance),
        **data.tags(),
        **description,
        **({WARNINGS_TAG: " ".join(warnings)} if warnings else {}),
    }


def _regularizers(parts: Components) -> list[str]:
    """Returns the regularizers as text, with the parameters that differ from their defaults."""
    return [str(reg.changed()) for reg in parts.regs]


def _initializers(inits: Sequence[Chosen]) -> tuple[str, dict[str, Any]]:
    """Names joined by +, and parameters: of several initializers under the name of each."""
    names = "+".join(one.spec.key for one in inits) or "default"
    if len(inits) == 1:
        return names, inits[0].values()
    return names, {one.spec.key: one.values() for one in inits}
