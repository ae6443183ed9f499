"""Losses: one number for each row, which depends only on that row."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import torch
import torch.nn.functional as F
from torch import Tensor

from regplug.api import Loss, Task
from regplug.losses import LossFunction
from regplug.testing import bench
from regplug.testing.checking import NotApplicable, attempting, expect
from regplug.testing.generators import generators_untouched
from regplug.testing.subject import Subject
from regplug.testing.trainings import same_bits, worst_difference
from regplug.testing.values import three_values
from regplug.training.lift import over_runs

ROWS = 7
FAR = 100.0
"""Size of an output at which a naive exponential or logarithm leaves float32."""


def _loss(subject: Subject, **values: Any) -> LossFunction:
    loss = subject.build(**values)
    expect(isinstance(loss, LossFunction), f"it is a {type(loss).__name__}, but must be a regplug.losses.LossFunction")
    return loss  # type: ignore[no-any-return] # looked at above


def _settings(subject: Subject, dtype: torch.dtype = torch.float64, **values: Any) -> dict[str, Tensor]:
    params = subject.params(**values)
    return {info.name: torch.tensor(getattr(params, info.name), dtype=dtype) for info in subject.stackable}


def _cases(subject: Subject, rows: int = ROWS, seed: int = 0) -> Iterator[tuple[Task, Tensor, Tensor]]:
    """Yields outputs and targets for each supported task, in float64."""
    for kind in subject.descriptor(Loss).tasks:
        task = bench.TASKS[kind]
        yield task, 2 * bench.targets(bench.VALUES, rows, seed=seed + 40), bench.targets(task, rows, seed=seed + 1)


def _each(subject: Subject, outputs: Tensor, targets: Tensor) -> Tensor:
    with attempting(f"the losses of {len(outputs)} rows"):
        return _loss(subject).per_sample(outputs, targets, _settings(subject, outputs.dtype))


def is_a_loss(subject: Subject) -> None:
    """A target that returns something else, or a default for a task that the loss does not support."""
    _loss(subject)
    declared = subject.descriptor(Loss)
    expect(declared.tasks, "it supports no task")
    strange = set(declared.default_for) - set(declared.tasks)
    expect(not strange, f"it is the default for {sorted(strange)}, which it does not support")


def default_is_regplugs(subject: Subject) -> None:
    """A declared default without effect, because `auto` does not depend on the installed plugins."""
    claimed = set(subject.descriptor(Loss).default_for)
    if not claimed or subject.registered.origin.is_first_party:
        raise NotApplicable("it is not declared as a default, or is regplug's own")
    ours = [one.component for one in subject.registry.components("loss") if one.origin.is_first_party]
    taken = {task for one in ours if isinstance(one, Loss) for task in one.default_for}
    expect(not claimed & taken, f"regplug has a default of its own for {sorted(claimed & taken)}")


def one_loss_for_each_row(subject: Subject) -> None:
    """A loss that is already averaged, or has one number per column, so that its rows cannot be weighted."""
    for rows in (1, 2, ROWS):
        for task, outputs, targets in _cases(subject, rows):
            for dtype in (torch.float64, torch.float32):
                wanted = targets if task.is_classification else targets.to(dtype)
                each = _each(subject, outputs.to(dtype), wanted)
                expect(isinstance(each, Tensor), f"it gave a {type(each).__name__}")
                expect(tuple(each.shape) == (rows,), f"{rows} rows give the shape {tuple(each.shape)}")
                expect(each.dtype == dtype, f"outputs of {dtype} give losses of {each.dtype}")
                expect(torch.isfinite(each).all(), "it is not finite")


def rows_do_not_mix(subject: Subject) -> None:
    """A row whose loss depends on other rows, for example by scaling with the batch."""
    for _, outputs, targets in _cases(subject):
        together = _each(subject, outputs, targets)
        alone = torch.cat([_each(subject, outputs[i : i + 1], targets[i : i + 1]) for i in range(ROWS)])
        expect(worst_difference([together], [alone]) < 1e-12, "a row alone has another loss than in a batch")


def mean_is_the_mean(subject: Subject) -> None:
    """A `mean` written for speed that differs from the mean of the rows' losses."""
    for _, outputs, targets in _cases(subject):
        with attempting("the mean"):
            mean = _loss(subject).mean(outputs, targets, _settings(subject))
        expect(mean.ndim == 0, f"it is not a scalar but has the shape {tuple(mean.shape)}")
        expected = _each(subject, outputs, targets).mean()
        expect(worst_difference([mean], [expected]) < 1e-12, f"it is {float(mean)}, and the rows' is {float(expected)}")


def losing_changes_nothing(subject: Subject) -> None:
    """A loss that writes to its arguments, keeps state or draws, and so changes from call to call."""
    for _, outputs, targets in _cases(subject):
        before, loss = [outputs.clone(), targets.clone()], _loss(subject)
        with generators_untouched("the loss"), attempting("the loss, twice"):
            one, two = (loss.per_sample(outputs, targets, _settings(subject)) for _ in range(2))
        expect(same_bits(before, [outputs, targets]), "it wrote to the outputs or the targets")
        expect(same_bits([one], [two]), "two calls give different losses")


def right_answer_costs_least(subject: Subject) -> None:
    """A loss with the wrong sign, or with targets and outputs swapped."""
    for task, _, targets in _cases(subject):
        if task.is_classification:
            right, wrong = (8.0 * F.one_hot((targets + by) % bench.OUTPUTS, bench.OUTPUTS).double() for by in (0, 1))
        elif task.is_multilabel:
            right, wrong = 16 * targets - 8, 8 - 16 * targets
        else:
            right, wrong = targets, targets + bench.targets(task, ROWS, seed=9)
        gap = _each(subject, wrong, targets) - _each(subject, right, targets)
        expect((gap > 0).all(), "a wrong prediction does not cost more than the right one")


def gradient_is_that_of_the_loss(subject: Subject) -> None:
    """A gradient that is not the loss's slope, such as of a part that was detached; central differences, to 1e-6."""
    for _, outputs, targets in _cases(subject):
        loss, settings, move = _loss(subject), _settings(subject), 1e-6
        along = bench.targets(bench.VALUES, ROWS, seed=3)
        point = outputs.clone().requires_grad_()
        with attempting("its gradient"):
            (grad,) = torch.autograd.grad(loss.mean(point, targets, settings), point)
        ends = [float(loss.mean(outputs + sign * move * along, targets, settings)) for sign in (1, -1)]
        slope, expected = float((grad * along).sum()), (ends[0] - ends[1]) / (2 * move)
        expect(abs(slope - expected) < 1e-6 * max(1.0, abs(expected)), f"the slope is {expected}, autograd's {slope}")


def is_finite_far_out(subject: Subject) -> None:
    """A logarithm of 0, or an exponential that overflows: one bad step makes a run NaN."""
    for task, outputs, targets in _cases(subject):
        wanted = targets if task.is_classification else targets.float()
        for far in (FAR * outputs.sign().float(), torch.zeros_like(outputs).float(), wanted):
            if far.is_floating_point():
                point = far.clone().requires_grad_()
                mean = _loss(subject).mean(point, wanted, _settings(subject, torch.float32))
                (grad,) = torch.autograd.grad(mean, point)
                expect(
                    torch.isfinite(mean), f"its mean is {float(mean.detach())} at outputs such as {float(far[0, 0])}"
                )
                expect(torch.isfinite(grad).all(), f"its gradient is not finite at outputs such as {float(far[0, 0])}")


def soft_targets_are_taken(subject: Subject) -> None:
    """Class probabilities that are misinterpreted although the descriptor has `soft_targets=True`."""
    if not subject.descriptor(Loss).soft_targets:
        raise NotApplicable("it does not declare soft_targets")
    for task, outputs, classes in _cases(subject):
        expect(task.is_classification, "soft targets are a classification's")
        sure = F.one_hot(classes, bench.OUTPUTS).double()
        gap = worst_difference([_each(subject, outputs, sure)], [_each(subject, outputs, classes)])
        expect(gap < 1e-12, "probability 1 for a class gives another loss than the class")
        expect(torch.isfinite(_each(subject, outputs, (sure + sure.roll(1, 1)) / 2)).all(), "a mixture is not finite")


def numbers_come_from_the_settings(subject: Subject) -> None:
    """A stackable number that is read from the parameters: all runs of a stack would have the first one's."""
    if not subject.stackable:
        raise NotApplicable("no parameter is Stackable")
    for info in subject.stackable:
        values = three_values(subject, info)
        for _, outputs, targets in _cases(subject):
            for value in values:
                settings = _settings(subject, **{info.name: value})
                first, own = (_loss(subject, **{info.name: each}) for each in (values[0], value))
                gap = worst_difference(
                    [first.per_sample(outputs, targets, settings)], [own.per_sample(outputs, targets, settings)]
                )
                expect(gap < 1e-12, f"{info.name} is not read from the settings")


def stacked_is_alone(subject: Subject) -> None:
    """A loss that fails under vmap or mixes runs, so that a stacked study differs."""
    values = {info.name: three_values(subject, info) for info in subject.stackable}
    settings = [_settings(subject, **{name: own[i % len(own)] for name, own in values.items()}) for i in range(3)]
    loss, names = _loss(subject), list(values)
    for number in range(len(subject.descriptor(Loss).tasks)):
        cases = [list(_cases(subject, seed=seed))[number] for seed in range(3)]
        row = [torch.stack([case[1] for case in cases]), torch.stack([case[2] for case in cases])]
        row += [torch.stack([own[name] for own in settings]) for name in names]

        def of_one(outputs: Tensor, targets: Tensor, *numbers: Tensor) -> list[Tensor]:
            return [loss.per_sample(outputs, targets, dict(zip(names, numbers, strict=True)))]

        with attempting("stacked"):
            (together,) = over_runs(of_one, row)
        for run, (_, outputs, targets) in enumerate(cases):
            gap = worst_difference([together[run]], [loss.per_sample(outputs, targets, settings[run])])
            expect(gap < 1e-12, f"run {run} of a stack has other losses than alone")


CHECKS = (
    is_a_loss,
    default_is_regplugs,
    one_loss_for_each_row,
    rows_do_not_mix,
    mean_is_the_mean,
    losing_changes_nothing,
    right_answer_costs_least,
    gradient_is_that_of_the_loss,
    is_finite_far_out,
    soft_targets_are_taken,
    numbers_come_from_the_settings,
    stacked_is_alone,
)
