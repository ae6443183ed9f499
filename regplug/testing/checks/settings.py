"""Settings that may differ between the runs of a stack: read from the step, as tensors."""

from __future__ import annotations

import os
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

import torch
from torch import Tensor

import regplug
from regplug.api import Regularizer
from regplug.config.params import ParameterInfo
from regplug.testing.checking import CouldNotRun, NotApplicable, expect
from regplug.testing.checks.runs import compare_stacked
from regplug.testing.rig import KEY, Rig, make_rig, networks_of
from regplug.testing.subject import Subject
from regplug.testing.trainings import Run, learned, make_trainer, same_bits, train
from regplug.testing.values import three_values
from regplug.testing.watched import TurnedIntoNumberError, plain, watched


def _stackable(subject: Subject) -> list[tuple[ParameterInfo, list[Any]]]:
    if not subject.descriptor(Regularizer).stackable:
        raise NotApplicable("it declares not to be stackable")
    if not subject.stackable:
        raise NotApplicable("no parameter is marked Stackable")
    subject.build()  # a component that cannot be built accepts no values
    found = [(info, three_values(subject, info)) for info in subject.stackable]
    for info, values in found:
        if len(values) < 2:
            raise CouldNotRun(f"the kit finds no two values of {info.name} that it takes; declare Search(low, high)")
    return found


def each_setting_may_differ_in_a_stack(subject: Subject) -> None:
    """A setting marked `Stackable` that the runs of a stack share, so that a sweep does not vary it."""
    for info, values in _stackable(subject):
        runs = [Run(seed=seed, values={info.name: value}) for seed, value in enumerate(values)]
        for name in networks_of(subject):
            compare_stacked(subject, runs, name, f"values of {info.name}")


def no_setting_becomes_a_number(subject: Subject) -> None:
    """`.item()`, `float()` or `if` on a setting marked `Stackable`: right for one run, impossible for many."""
    for info, _ in _stackable(subject):
        for name in networks_of(subject):
            rig = make_rig(subject, name)
            try:
                with_watched(rig, info.name)
            except TurnedIntoNumberError as error:
                where = _where(error)
                expect(False, f"{name}: {info.name} is turned into a Python number{where}; compute with the tensor")


def with_watched(rig: Rig, field: str) -> None:
    """Calls each function of a step and of an epoch's end with a watched setting; ignores the results."""
    settings = {key: dict(own) for key, own in rig.setting_tensors().items()}
    settings[KEY][field] = watched(settings[KEY][field], field)
    program, step, buffers = rig.program, rig.step(settings=settings), rig.buffers
    regularizer, params = program.regularizer, {name: value.requires_grad_() for name, value in rig.params.items()}
    rig.model.train()
    made, _ = program.objective(params, buffers, step)
    grads = torch.autograd.grad(plain(made["total"]), list(params.values()), materialize_grads=True)
    named = dict(zip(params, map(plain, grads), strict=True))
    losses = {name: torch.tensor(0.5, dtype=rig.dtype) for name in ("valid/loss", "train/objective")}
    calls: Mapping[str, Callable[[], Any]] = {
        "perturb": lambda: regularizer.perturb(step, params, named),
        "gradients": lambda: regularizer.gradients(step, params, named),
        "decay": lambda: [regularizer.decay(step, name, value) for name, value in params.items()],
        "after_step": lambda: regularizer.after_step(step, params),
        "project": lambda: program.projected(step, params, buffers),
        "after_epoch": lambda: regularizer.after_epoch(step, losses, params, buffers),
    }
    with torch.no_grad():
        for function, call in calls.items():
            if regularizer.acting(function):
                call()


def _where(error: BaseException) -> str:
    """The last line of the component's own code in a traceback."""
    import traceback  # only after an error

    # By the packages themselves: a folder on the way to the author's own code may have the same name.
    others = tuple(f"{Path(str(package.__file__)).parent}{os.sep}" for package in (torch, regplug))
    frames = [frame for frame in traceback.extract_tb(error.__traceback__) if not frame.filename.startswith(others)]
    return f" at {frames[-1].filename.rpartition('/')[2]}:{frames[-1].lineno}" if frames else ""


def no_setting_is_read_from_the_parameters(subject: Subject) -> None:
    """`self.params.strength` instead of `step.settings["strength"]`: all runs of a stack would have the first one's."""
    for info, values in _stackable(subject):
        for wanted, built in zip(values, [*values[1:], values[0]], strict=True):
            for name in networks_of(subject):
                honest, poisoned = (_weights(subject, info.name, wanted, each, name) for each in (wanted, built))
                same = same_bits(honest, poisoned)
                expect(same, f"{name}: {info.name} is read from the parameters, but must be read from step.settings")


def _weights(subject: Subject, field: str, value: Any, built_with: Any, name: str) -> list[Tensor]:
    run = Run(values={field: value}, built_with={field: built_with})
    return learned(train(make_trainer(subject, [run], name=name)))


CHECKS = (
    each_setting_may_differ_in_a_stack,
    no_setting_becomes_a_number,
    no_setting_is_read_from_the_parameters,
)
