"""Settings that may differ between the runs of a stack: read from the step, as tensors."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import torch
from torch import Tensor

from regplug.api import Regularizer
from regplug.params import ParameterInfo
from regplug.testing.checking import CouldNotRun, NotApplicable, expect
from regplug.testing.checks.runs import compare_stacked
from regplug.testing.rig import KEY, networks_of
from regplug.testing.subject import Subject
from regplug.testing.trainings import Run, learned, make_trainer, same_bits, train
from regplug.testing.values import three_values
from regplug.testing.watched import TurnedIntoNumberError, plain, watched
from regplug.training.loop import Trainer


def _stackable(subject: Subject) -> list[tuple[ParameterInfo, list[Any]]]:
    if not subject.descriptor(Regularizer).stackable:
        raise NotApplicable("it declares not to be stackable")
    if not subject.stackable:
        raise NotApplicable("no parameter is marked Stackable")
    found = [(info, three_values(subject, info)) for info in subject.stackable]
    for info, values in found:
        if len(values) < 2:
            raise CouldNotRun(f"the kit finds no two values of {info.name} that it takes; declare Search(low, high)")
    return found


def each_setting_may_differ_in_a_stack(subject: Subject) -> None:
    """A setting marked `Stackable` that the runs of a stack would share: a sweep would tell them apart by name only."""
    for info, values in _stackable(subject):
        runs = [Run(seed=seed, values={info.name: value}) for seed, value in enumerate(values)]
        for name in networks_of(subject):
            compare_stacked(subject, runs, name, f"values of {info.name}")


def no_setting_becomes_a_number(subject: Subject) -> None:
    """`.item()`, `float()` or `if` on a setting marked `Stackable`: right for one run, impossible for many."""
    for info, _ in _stackable(subject):
        for name in networks_of(subject):
            trainer = make_trainer(subject, name=name)
            try:
                with_watched(trainer, info.name)
            except TurnedIntoNumberError as error:
                where = _where(error)
                expect(False, f"{name}: {info.name} is turned into a Python number{where}; compute with the tensor")


def with_watched(trainer: Trainer, field: str) -> None:
    """Takes one step and one end of an epoch with a watched setting; the tensors that it touched are thrown away."""
    settings = {key: dict(own) for key, own in trainer._settings.items()}
    settings[KEY][field] = watched(settings[KEY][field], field)
    stepper = trainer._stepper
    batch = next(iter(trainer._feed.epoch(0)))
    stepper.clock = trainer._clock(0, 0)
    state, regularizer = trainer.state, trainer._program.regularizer
    trainer._program.model.train()
    total, _, _ = stepper._objective(state.params, state.buffers, settings, batch.noise, batch.x, batch.y)
    grads = torch.autograd.grad(plain(total), list(state.params.values()), materialize_grads=True)
    named = dict(zip(state.params, map(plain, grads), strict=True))
    with torch.no_grad():
        calls: list[tuple[str, Callable[[], Any]]] = [
            ("perturb", lambda: stepper._perturb_one(settings, batch.noise, state.params, named)),
            (
                "gradients",
                lambda: stepper._gradients_one(settings, batch.noise, named, state.params, state.regularizer),
            ),
            ("decay", lambda: stepper._decay_one(settings, batch.noise, state.params)),
            ("after_step", lambda: stepper._after_one(settings, batch.noise, state.params, state.regularizer)),
            ("project", lambda: stepper._after_one(settings, batch.noise, state.params, state.regularizer)),
        ]
        for function, call in calls:
            if regularizer.acting(function):
                call()
        if regularizer.acting("after_epoch"):
            loss = {name: torch.tensor(0.5, dtype=torch.float64) for name in ("valid/loss", "train/objective")}
            trainer._after_epoch_one(settings, loss, state.params, state.buffers, state.regularizer)


def _where(error: BaseException) -> str:
    """The last line of the component's own code in a traceback."""
    import traceback  # only where something is wrong

    frames = [
        frame
        for frame in traceback.extract_tb(error.__traceback__)
        if "/torch/" not in frame.filename and "/regplug/" not in frame.filename
    ]
    return f" at {frames[-1].filename.rpartition('/')[2]}:{frames[-1].lineno}" if frames else ""


def no_setting_is_read_from_the_parameters(subject: Subject) -> None:
    """`self.params.strength` instead of `step.settings["strength"]`: all runs of a stack would have the first one's."""
    for info, values in _stackable(subject):
        for wanted, built in zip(values, [*values[1:], values[0]], strict=True):
            for name in networks_of(subject):
                honest, poisoned = (_weights(subject, info.name, wanted, each, name) for each in (wanted, built))
                same = same_bits(honest, poisoned)
                expect(same, f"{name}: {info.name} is read from the parameters, and must be read from step.settings")


def _weights(subject: Subject, field: str, value: Any, built_with: Any, name: str) -> list[Tensor]:
    run = Run(values={field: value}, built_with={field: built_with})
    return learned(train(make_trainer(subject, [run], name=name)))


CHECKS = (
    each_setting_may_differ_in_a_stack,
    no_setting_becomes_a_number,
    no_setting_is_read_from_the_parameters,
)
