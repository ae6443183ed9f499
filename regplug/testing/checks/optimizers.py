"""Optimizers: an update rule keeps everything in its state, and updates each run as if it were alone."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import torch
from torch import Tensor

from regplug.api import Optimizer
from regplug.optimizers import OptimizerState, UpdateRule
from regplug.runs.network import numbers_of
from regplug.testing.checking import NotApplicable, attempting, expect
from regplug.testing.generators import generators_untouched, seeded_globally
from regplug.testing.subject import Subject
from regplug.testing.trainings import same_bits, worst_difference
from regplug.testing.values import three_values
from regplug.training.optimizers import BoundRule

SHAPES = ((3, 4), (3,), (2, 3, 2))
STEPS = 6
RATES = (0.1, 0.03, 0.01)
_DOWNHILL_RATES, _DOWNHILL_STEPS = (1.0, 0.1, 0.01, 0.001), 200


def _drawn(seed: int, dtype: torch.dtype = torch.float64) -> list[Tensor]:
    generator = torch.Generator().manual_seed(seed)
    return [torch.randn(shape, dtype=torch.float64, generator=generator).to(dtype) for shape in SHAPES]


def _rule(subject: Subject, **values: Any) -> UpdateRule:
    rule = subject.build(**values)
    expect(isinstance(rule, UpdateRule), f"it is a {type(rule).__name__}, but must be a regplug.optimizers.UpdateRule")
    return rule  # type: ignore[no-any-return] # looked at above


def _numbers(subject: Subject, **values: Any) -> dict[str, Any]:
    numbers = numbers_of(subject.params(**values))
    return {info.name: numbers[info.name] for info in subject.stackable}


class _Course:
    """A course of updates of some parameters.

    Args:
        subject: The optimizer.
        runs: For each run, values of its parameters; one alone is not stacked.
        built_with: Values that the rule is built with.
        dtype: Of all tensors.
    """

    def __init__(
        self,
        subject: Subject,
        runs: Sequence[Mapping[str, Any]] = ({},),
        built_with: Mapping[str, Any] | None = None,
        dtype: torch.dtype = torch.float64,
    ) -> None:
        self._runs, self._dtype = len(runs), dtype
        self._subject, self._values = subject, [_numbers(subject, **values) for values in runs]
        self.built_with = dict(runs[0] if built_with is None else built_with)
        self.renew()
        self.params = self._stacked([_drawn(0, dtype)] * len(runs))
        with attempting("init"):
            self.state: OptimizerState = self.rule.init(self.params)
        self.index = 0

    def renew(self) -> None:
        """Builds a new rule."""
        rule = _rule(self._subject, **self.built_with)
        self.rule = BoundRule(rule, self._values, None if self._runs == 1 else self._runs)

    def grads(self, first: int = 0) -> list[Tensor]:
        """The gradients of the next step, other ones for each run."""
        return self._stacked([_drawn(1000 * (first + run + 1) + self.index, self._dtype) for run in range(self._runs)])

    def go(self, steps: int = STEPS, rates: Sequence[float] = RATES, first: int = 0) -> list[Tensor]:
        """Moves on; returns parameters and state."""
        rate: Any = rates[0] if self._runs == 1 else torch.tensor(rates[: self._runs], dtype=self._dtype)
        with attempting("an update"), torch.no_grad():
            for _ in range(steps):
                self.rule.update_(self.params, self.grads(first), self.state, rate, self.index)
                self.index += 1
        return self.everything()

    def everything(self) -> list[Tensor]:
        """Copies of parameters and state."""
        return [tensor.clone() for tensor in (*self.params, *(t for slot in self.state.values() for t in slot))]

    def _stacked(self, each: Sequence[Sequence[Tensor]]) -> list[Tensor]:
        return list(each[0]) if self._runs == 1 else [torch.stack(tensors) for tensors in zip(*each, strict=True)]


def is_an_update_rule(subject: Subject) -> None:
    """A target that returns something else, such as an optimizer of torch, which has one rate for all runs."""
    _rule(subject)


def moves_every_parameter(subject: Subject) -> None:
    """A parameter that is not updated, or becomes NaN, although every gradient is finite."""
    for dtype in (torch.float64, torch.float32):
        course = _Course(subject, dtype=dtype)
        before = course.everything()
        after = course.go(2)
        for own, begin in zip(after[: len(SHAPES)], before[: len(SHAPES)], strict=True):
            expect(torch.isfinite(own).all(), "a parameter became NaN or infinite")
            expect((own != begin).any(), f"a parameter of shape {tuple(own.shape)} did not move")
        expect({tensor.dtype for tensor in course.params} == {dtype}, "the parameters have another number format")


def rate_of_zero_moves_nothing(subject: Subject) -> None:
    """An update that the learning rate does not scale, so that warm-up and schedules have no effect."""
    course = _Course(subject)
    before = course.everything()[: len(SHAPES)]
    expect(same_bits(before, course.go(rates=(0.0,))[: len(SHAPES)]), "the parameters moved at a rate of 0")


def gradients_stay(subject: Subject) -> None:
    """An update that writes to the gradients, which are read after the optimizer."""
    course = _Course(subject)
    grads = course.grads()
    with attempting("an update"), torch.no_grad():
        course.rule.update_(course.params, grads, course.state, RATES[0], 0)
    expect(same_bits(grads, _Course(subject).grads()), "the update wrote to the gradients")


def state_is_all_it_keeps(subject: Subject) -> None:
    """State in the object: a resumed run would differ."""
    whole, course = _Course(subject).go(), _Course(subject)
    course.go(STEPS // 2)
    course.state = {slot: [tensor.clone() for tensor in tensors] for slot, tensors in course.state.items()}
    course.renew()
    expect(same_bits(whole, course.go(STEPS - STEPS // 2)), "a new rule with the saved state gives different updates")


def moving_draws_nothing(subject: Subject) -> None:
    """Random numbers from a global generator, which the run's seed does not determine."""
    ends = []
    for seed in (1, 2):
        with seeded_globally(seed), generators_untouched("the updates"):
            ends.append(_Course(subject).go())
    expect(same_bits(*ends), "the same gradients lead elsewhere")


def numbers_come_from_the_settings(subject: Subject) -> None:
    """A stackable number that is read from the parameters: all runs of a stack would have the first one's."""
    if not subject.stackable:
        raise NotApplicable("no parameter is Stackable")
    for info in subject.stackable:
        values = three_values(subject, info)
        for value in values[1:]:
            own = _Course(subject, [{info.name: value}]).go()
            other = _Course(subject, [{info.name: value}], built_with={info.name: values[0]}).go()
            expect(len(own) == len(other), f"the state depends on {info.name} of the parameters, not of the settings")
            expect(worst_difference(own, other) < 1e-12, f"{info.name} is not read from the settings")


def stacked_is_alone(subject: Subject) -> None:
    """Runs that mix, or share a learning rate or a number, so that a stacked study differs."""
    if not subject.descriptor(Optimizer).stackable:
        raise NotApplicable("it declares that it cannot be stacked")
    for info in (None, *subject.stackable):
        values = three_values(subject, info) if info else [None]
        runs = [{info.name: values[i % len(values)]} if info else {} for i in range(3)]
        course = _Course(subject, runs)
        together = course.go()
        for tensor in together:
            expect(
                tensor.ndim and len(tensor) == 3,
                f"a tensor of the state has the shape {tuple(tensor.shape)}, not the runs first",
            )
        for run, own in enumerate(runs):
            alone = _Course(subject, [own]).go(rates=RATES[run:], first=run)
            gap = worst_difference([tensor[run] for tensor in together][: len(SHAPES)], alone[: len(SHAPES)])
            what = f"numbers {info.name}" if info else "rates"
            expect(gap < 1e-9, f"stacked over different {what}, run {run} differs from itself alone by {gap:.3g}")


def goes_downhill(subject: Subject) -> None:
    """An update along the gradient instead of against it: some rate must halve a quadratic function."""
    found = [_height_after(subject, rate) for rate in _DOWNHILL_RATES]
    start = sum(float(param.square().sum()) for param in _drawn(0))
    expect(min(found) < start / 2, f"it reduced the function from {start:.3g} only to {min(found):.3g}")


def _height_after(subject: Subject, rate: float) -> float:
    course = _Course(subject)
    with attempting("an update"), torch.no_grad():
        for index in range(_DOWNHILL_STEPS):
            course.rule.update_(course.params, [2 * p for p in course.params], course.state, rate, index)
    height = sum(float(param.square().sum()) for param in course.params)
    return height if height == height else float("inf")  # NaN is no height


CHECKS = (
    is_an_update_rule,
    moves_every_parameter,
    rate_of_zero_moves_nothing,
    gradients_stay,
    state_is_all_it_keeps,
    moving_draws_nothing,
    numbers_come_from_the_settings,
    stacked_is_alone,
    goes_downhill,
)
