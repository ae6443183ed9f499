"""Builds everything that a training needs from a configuration; nothing is trained or tracked here."""

from __future__ import annotations

import dataclasses
import functools
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Any, cast

import torch
from torch import Tensor

from regplug.api import Loss, Task
from regplug.config import RunConfig
from regplug.config.params import stackable_fields
from regplug.config.ramps import first_value
from regplug.data import Prepared
from regplug.data.inputs import Inputs
from regplug.errors import CompositionError, PluginError
from regplug.losses import SETTINGS_KEY, LossFunction
from regplug.registry import load_target, takes_keywords
from regplug.registry.components import Chosen, Components
from regplug.regularization.composition import Composition
from regplug.regularizer import Notice, Step
from regplug.runs.network import Network, build_network, numbers_of
from regplug.training.course import Course
from regplug.training.feed import rows_of_an_epoch
from regplug.training.optimizers import UpdateRule
from regplug.training.program import Program, clock_at_start
from regplug.training.schedules import Factors
from regplug.training.state import RunInputs
from regplug.training.tensors import split_tensors
from regplug.training.torch_optimizers import TorchRule

SMALL_STEP = 4_000_000
"""Product of parameters and rows below which a step is faster on one thread, especially on a busy machine."""


@contextmanager
def threads(count: int) -> Iterator[None]:
    """Sets the number of torch's threads, and restores it afterwards."""
    before = torch.get_num_threads()
    torch.set_num_threads(count)
    try:
        yield
    finally:
        torch.set_num_threads(before)


@dataclass(frozen=True, kw_only=True)
class Assembly:
    """Everything that a training needs.

    Args:
        config: The run as requested.
        components: Its components, for the task of the data.
        data: Normalised tensors.
        network: The model and its regularizers.
        program: What each step computes.
        rule: The optimizer's update rule.
        course: How long and how often.
        inputs: What this run brings to the loop.
    """

    config: RunConfig
    components: Components
    data: Prepared
    network: Network
    program: Program
    rule: UpdateRule
    course: Course
    inputs: RunInputs

    def loss_tensors(self) -> dict[str, Tensor]:
        """Returns the settings the loss is called with; for a stack, those of the first run."""
        own = _as_tensors(self.inputs.settings, self.data.train.x)
        return own.get(SETTINGS_KEY, {})

    def num_threads(self, runs: int = 1) -> int:
        """Returns the number of threads to train with: as configured, or one if a step is too small to share.

        It depends on the configuration alone, so a run repeats bit by bit on the same machine.

        Args:
            runs: How many runs are stacked.
        """
        numbers = sum(param.numel() for param in self.program.params.values()) * self.config.batch_size * runs
        return self.config.threads or (1 if numbers < SMALL_STEP else torch.get_num_threads())


def assemble(config: RunConfig, components: Components, data: Prepared) -> Assembly:
    """Builds model, regularizers, loss and optimizer.

    Args:
        config: The run as requested.
        components: Its components.
        data: The data to train on.

    Raises:
        CompositionError: Components contradict each other or the run.
        ModelError: The model does not fit data or task.
    """
    components = components.for_task(data.task)
    network = build_network(config, components, data)
    loss = build_loss(components, network.regularizer, data.task)
    program = Program(model=network.model, regularizer=network.regularizer, loss=loss, task=data.task)
    params, buffers = split_tensors(network.model)
    program.require_inverses(Step(_as_tensors(network.settings, data.train.x), {}, clock_at_start(program)))
    rule = build_rule(components.optimizer, list(params.values()), config.lr)
    if program.needs_two_rows:
        notices = _last_batch_notice(len(data.train), config.batch_size)
        network = dataclasses.replace(network, notices=(*network.notices, *notices))
    return Assembly(
        config=config,
        components=components,
        data=data,
        network=network,
        program=program,
        rule=rule,
        course=make_course(
            config,
            components,
            rows_of_an_epoch(len(data.train), config.batch_size, needs_two_rows=program.needs_two_rows),
        ),
        inputs=RunInputs(
            seed=config.seed,
            rate=config.lr,
            settings={**network.settings, **loss_settings(components)},
            params=params,
            buffers=buffers,
            optimizer=stackable_numbers(components.optimizer),
            limits=data.limits,
            raw=data.raw.train.x,
        ),
    )


def _as_tensors(settings: Mapping[str, Mapping[str, Any]], like: Inputs) -> dict[str, dict[str, Tensor]]:
    """Returns the settings at the first step."""
    return {
        key: {name: torch.as_tensor(first_value(value), dtype=like.dtype) for name, value in own.items()}
        for key, own in settings.items()
    }


def build_loss(components: Components, regularizer: Composition, task: Task) -> LossFunction:
    """Builds the loss.

    Raises:
        CompositionError: A regularizer makes class probabilities of the targets, which the loss does not take.
        PluginError: The loss's target makes something else.
    """
    chosen = cast(Chosen, components.loss)
    softening = [member.key for member in regularizer.acting("batch") if member.functions.needs_soft_targets]
    if softening and task.is_classification and not cast(Loss, chosen.registered.component).soft_targets:
        raise CompositionError(
            f"{softening[0]} turns classes into probabilities, but loss={chosen.spec.name} accepts only classes.",
            hint=f"Leave {softening[0]} out, or choose a loss with soft_targets: `regplug plugins show NAME`.",
        )
    loss = chosen.build()
    if not isinstance(loss, LossFunction):
        raise PluginError(
            f"The loss {chosen.registered.full_name} is a {type(loss).__name__}.",
            hint="Its target must be a subclass of regplug.losses.LossFunction.",
        )
    return loss


def loss_settings(components: Components) -> dict[str, dict[str, Any]]:
    """Returns the loss's stackable numbers, under the key where the loop expects them."""
    own = stackable_numbers(cast(Chosen, components.loss))
    return {SETTINGS_KEY: own} if own else {}


def stackable_numbers(chosen: Chosen) -> dict[str, Any]:
    """Returns the numbers of a component that may differ between the runs of a stack."""
    if isinstance(chosen.params, Mapping):
        return {}
    numbers = numbers_of(chosen.params)
    return {name: numbers[name] for name in stackable_fields(type(chosen.params)) if name in numbers}


def build_rule(chosen: Chosen, params: Sequence[Tensor], rate: float) -> UpdateRule:
    """Builds the optimizer's update rule; wraps a class of torch.optim that is given by its path.

    Args:
        chosen: The optimizer.
        params: What it will train.
        rate: Learning rate.

    Raises:
        RequestError: A class of torch.optim cannot train these parameters.
        PluginError: The optimizer's target makes something else.
    """
    registered = chosen.registered
    if takes_keywords(registered):
        adapted = TorchRule(load_target(registered), chosen.params, registered.full_name)
        adapted.try_out(params, rate)
        return adapted
    rule = chosen.build()
    if not isinstance(rule, UpdateRule):
        raise PluginError(
            f"The optimizer {registered.full_name} is a {type(rule).__name__}.",
            hint="Its target must be a subclass of regplug.optimizers.UpdateRule.",
        )
    return rule


def make_course(config: RunConfig, components: Components, rows: int) -> Course:
    """Returns how long a run with that many training rows trains, and how often it is evaluated.

    Raises:
        PluginError: The schedule raised, or gave what is no factor.
    """
    schedule = components.schedule
    factors = Factors(
        functools.partial(load_target(schedule.registered), schedule.params),
        name=schedule.registered.full_name,
        epochs=config.epochs,
        steps_per_epoch=-(-rows // config.batch_size),
        warmup=config.warmup,
    )
    # An error at the start or at the end is reported before anything is trained.
    _ = factors[:1], factors[len(factors) - 1 :]
    return Course(
        epochs=config.epochs,
        batch_size=config.batch_size,
        shuffle=config.shuffle,
        factors=factors,
        evaluate_every=config.evaluate_every,
    )


def _last_batch_notice(rows: int, batch_size: int) -> Iterator[Notice]:
    """Yields a warning where the last batch has one row, because batch normalization cannot train on it.

    Raises:
        CompositionError: Every batch has one row.
    """
    if batch_size == 1:
        raise CompositionError(
            "batch_size=1: batch normalization cannot compute a variance from one row.",
            hint="Choose --batch-size 2 or more, or groupnorm or layernorm.",
        )
    if rows > batch_size and rows % batch_size == 1:
        yield Notice(
            "warn",
            f"{rows} training rows in batches of {batch_size} leave a last batch of one row, and batch "
            "normalization cannot compute a variance from one row: each epoch leaves one row out.",
            f"Choose another batch size, for example --batch-size {batch_size + 1}, to train on all rows.",
        )
