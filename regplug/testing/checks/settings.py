"""Settings that may differ between the runs of a stack: read from the step, as tensors."""

from __future__ import annotations

import os
from collections.abc import Callable, Mapping, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

import torch

import regplug
from regplug.api import Regularizer
from regplug.config.params import ParameterInfo
from regplug.config.ramps import Ramp
from regplug.testing.building import few_networks_of, make_rig, networks_of
from regplug.testing.checking import CouldNotRun, NotApplicable, expect
from regplug.testing.checks.runs import compare_stacked
from regplug.testing.rig import KEY, Rig
from regplug.testing.subject import Subject
from regplug.testing.trainings import Run, same_bits, shared_out, trained, trained_once
from regplug.testing.values import three_values
from regplug.testing.watched import TurnedIntoNumberError, plain, watched

_SETTLED = 1e-9
_NETWORKS = 2
"""Networks on which a schedule is tried."""


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
        compare_stacked(subject, _runs(info, values), few_networks_of(subject), f"values of {info.name}")


def _runs(info: ParameterInfo, values: Sequence[Any]) -> list[Run]:
    return [Run(seed=seed, values={info.name: value}) for seed, value in enumerate(values)]


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
        pairs = list(zip(_runs(info, values), [*values[1:], values[0]], strict=True))
        for name, (run, other) in shared_out(few_networks_of(subject), pairs):
            poisoned = replace(run, built_with={info.name: other})
            same = same_bits(trained_once(subject, run, name), trained(subject, poisoned, name=name))
            expect(same, f"{name}: {info.name} is read from the parameters, but must be read from step.settings")


def schedule_is_followed(subject: Subject) -> None:
    """A number that is kept from the first step, or turned into something at the start, where it may change."""
    chosen = [(info, values) for info, values in _stackable(subject) if info.schedulable]
    if not chosen:
        raise NotApplicable("no parameter is marked Schedulable")
    for info, values in chosen:
        first, last = values[0], values[1]
        runs = [
            Run(seed=0, values={info.name: first}),
            Run(seed=0, values={info.name: str(Ramp(first, first))}),
            Run(seed=0, values={info.name: str(Ramp(first, last))}),
        ]
        for name in networks_of(subject)[:_NETWORKS]:
            plain, level = trained_once(subject, runs[0], name), trained(subject, runs[1], name=name)
            expect(same_bits(plain, level), f"{name}: {info.name}={first}..{first} is not the run with {first}")
            other = trained_once(subject, Run(seed=1, values={info.name: last}), name)
            if same_bits(trained(subject, Run(seed=1, values={info.name: first}), name=name), other):
                continue  # the two values come to the same here
            moving = trained(subject, runs[2], name=name)
            expect(not same_bits(plain, moving), f"{name}: {info.name} keeps its first value of {first}..{last}")
        settled_follows(subject, info.name, str(Ramp(first, last)))


def settled_follows(subject: Subject, field: str, ramp: str) -> None:
    """Holds what layers settle into to their evaluation at the end of a schedule."""
    for name in networks_of(subject):
        rig = make_rig(subject, name, values={field: ramp})
        if not rig.acts_in_evaluation:
            return
        rig.settings = rig.last_settings
        with torch.no_grad():
            gap = float((rig.settled()(rig.x()) - rig.eval_logits(rig.x())).abs().max())
        expect(gap < _SETTLED, f"{name}: what it settles into is not its evaluation at the last {field}")


CHECKS = (
    each_setting_may_differ_in_a_stack,
    no_setting_becomes_a_number,
    no_setting_is_read_from_the_parameters,
    schedule_is_followed,
)
