"""regplug's side: a Trainer from a configuration, without tracking and export."""

from __future__ import annotations

import dataclasses
from collections.abc import Callable, Iterable, Mapping
from typing import Any

from regplug.config import RunConfig
from regplug.data import Prepared
from regplug.registry import default_registry
from regplug.registry.components import find_components
from regplug.runs.assembly import Assembly, assemble
from regplug.runs.loading import load_data, pools_of
from regplug.training.course import Pools
from regplug.training.loop import Trainer
from regplug.training.state import RunInputs


def data_of(config: RunConfig) -> Prepared:
    """The data of a configuration, normalised and in memory."""
    return load_data(config, find_components(config, default_registry()))


def assembled(config: RunConfig, data: Prepared) -> Assembly:
    """Everything that a training of this configuration needs."""
    return assemble(config, find_components(config, default_registry()), data)


def trainer_of(made: Assembly, runs: Iterable[RunInputs] = ()) -> Trainer:
    """A trainer of one run, or of `runs` stacked."""
    train, valid, test = pools_of(made.data)
    stack = list(runs)
    return Trainer(
        program=made.program,
        rule=made.rule,
        runs=stack or [made.inputs],
        pools=Pools(train=train, valid=valid, test=test),
        course=made.course,
        places=made.network.places,
        stacked=bool(stack),
    )


def with_settings(inputs: RunInputs, changed: Mapping[str, Mapping[str, float]]) -> RunInputs:
    """The same run with other strengths."""
    settings = {key: {**inputs.settings[key], **changed.get(key, {})} for key in inputs.settings}
    return dataclasses.replace(inputs, settings=settings)


def all_epochs(trainer: Trainer) -> Callable[[], Any]:
    """Trains to the end."""
    return lambda: list(trainer.train())


def one_epoch(made: Assembly) -> Callable[[], Any]:
    """Trains the first of several epochs: the last one also evaluates the training split."""
    longer = dataclasses.replace(made.course, epochs=2, factors=[1.0] * (2 * len(made.course.factors)))
    trainer = trainer_of(dataclasses.replace(made, course=longer))
    return lambda: next(trainer.train())
