"""Bugs of penalties and of losses around the loss."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Annotated

import numpy as np
import torch
import torch.nn.functional as F
from kit_mutants import PENALTY, Strength, bug

from regplug.api import Search, Stackable
from regplug.regularizer import RegularizerFunctions


def squares(weights):
    return sum(weight.square().sum() for weight in weights.values())


class Right(RegularizerFunctions):
    def penalty(self, step, weights, outputs):
        return step.settings["strength"] * squares(step.select(weights))


@bug("biases_and_norms_are_spared", **PENALTY)
class PenalisesBiases(RegularizerFunctions):
    def penalty(self, step, weights, outputs):
        return step.settings["strength"] * squares(weights)


@bug("penalty_has_a_gradient", **PENALTY)
class ItemInThePenalty(RegularizerFunctions):
    def penalty(self, step, weights, outputs):
        return step.settings["strength"] * squares(step.select(weights)).item()


@bug("no_setting_becomes_a_number", **PENALTY)
class StrengthAsANumber(RegularizerFunctions):
    def penalty(self, step, weights, outputs):
        return float(step.settings["strength"]) * squares(step.select(weights))


@bug("no_setting_becomes_a_number", **PENALTY)
class BranchesOnTheStrength(RegularizerFunctions):
    def penalty(self, step, weights, outputs):
        if step.settings["strength"] == 0:
            return 0 * squares(step.select(weights))
        return step.settings["strength"] * squares(step.select(weights))


@bug("no_setting_is_read_from_the_parameters", **PENALTY)
class StrengthFromTheParameters(RegularizerFunctions):
    def penalty(self, step, weights, outputs):
        return self.params.strength * squares(step.select(weights))


@bug("each_setting_may_differ_in_a_stack", **PENALTY)
class StrengthOfTheFirstRun(RegularizerFunctions):
    def penalty(self, step, weights, outputs):
        return self.params.strength * squares(step.select(weights))


@bug("penalty_is_linear_in_strength", **PENALTY)
class StrengthSquared(RegularizerFunctions):
    def penalty(self, step, weights, outputs):
        return step.settings["strength"] ** 2 * squares(step.select(weights))


@bug("penalty_is_zero_at_zero", **PENALTY)
class WithAnOffset(RegularizerFunctions):
    def penalty(self, step, weights, outputs):
        return step.settings["strength"] * squares(step.select(weights)) + 1e-3


@bug("off_changes_no_bit", **PENALTY)
class NeverQuiteOff(RegularizerFunctions):
    def penalty(self, step, weights, outputs):
        return (step.settings["strength"] + 1e-6) * squares(step.select(weights))


@bug("penalty_is_a_finite_scalar", **PENALTY)
class NegativePenalty(RegularizerFunctions):
    def penalty(self, step, weights, outputs):
        return -step.settings["strength"] * squares(step.select(weights))


@bug("penalty_is_a_finite_scalar", **PENALTY)
class OnePenaltyForEachUnit(RegularizerFunctions):
    def penalty(self, step, weights, outputs):
        return step.settings["strength"] * outputs.logits.square().mean(0)


@bug("penalty_gradient_is_true", **PENALTY)
class DetachedHalf(RegularizerFunctions):
    """`w.detach() * w`: the value is right and the gradient half."""

    def penalty(self, step, weights, outputs):
        chosen = step.select(weights)
        return step.settings["strength"] * sum((w.detach() * w).sum() for w in chosen.values())


@bug("penalty_writes_nothing", **PENALTY)
class WritesTheWeights(RegularizerFunctions):
    def penalty(self, step, weights, outputs):
        with torch.no_grad():
            for weight in weights.values():
                weight.clamp_(-0.1, 0.1)
        return step.settings["strength"] * squares(step.select(weights))


@dataclass(frozen=True)
class AnyStrength:
    strength: Annotated[float, Stackable(off=0), Search(low=0.1, high=1.0)] = 0.1
    "Without a bound."


@bug("negative_strength_is_refused", params=AnyStrength)
class TakesNegativeStrength(Right):
    pass


@bug("penalties_add_up", **PENALTY)
class CountsItsCalls(RegularizerFunctions):
    def __init__(self, params):
        super().__init__(params)
        self.calls = 0

    def penalty(self, step, weights, outputs):
        self.calls += 1
        return step.settings["strength"] * self.calls * squares(step.select(weights))


@bug("goes_on_after_any_epoch", **PENALTY)
class WarmsUpByItself(RegularizerFunctions):
    """A schedule kept in the object: a run that goes on starts it anew."""

    def __init__(self, params):
        super().__init__(params)
        self.calls = 0

    def penalty(self, step, weights, outputs):
        self.calls += 1
        return step.settings["strength"] * min(1.0, self.calls / 8) * squares(step.select(weights))


TWO_PASSES = {"params": Strength}


def distance(one, two):
    return F.mse_loss(one.logits.softmax(1), two.logits.softmax(1))


@bug("every_pass_is_taken", **TWO_PASSES)
class TwoPassesWithOneNumber(RegularizerFunctions):
    """R-Drop that forgets the number: both passes have the same masks."""

    passes = 2

    def wrap_loss(self, step, loss):
        def wrapped(params):
            (first, one), (second, two) = loss(params), loss(params)
            return (first + second) / 2 + step.settings["strength"] * distance(one, two), one

        return wrapped


@bug("wrapped_loss_is_a_scalar", **TWO_PASSES)
class LossWithoutAGradient(RegularizerFunctions):
    def wrap_loss(self, step, loss):
        def wrapped(params):
            value, outputs = loss(params)
            return value.detach(), outputs

        return wrapped


@bug("breaking_off_leaves_no_trace", **TWO_PASSES)
class SeedsNumpyWithoutFinally(RegularizerFunctions):
    def wrap_loss(self, step, loss):
        def wrapped(params):
            saved = np.random.get_state()  # noqa: NPY002 - the bug
            np.random.seed(0)  # noqa: NPY002 - the bug
            result = loss(params)
            np.random.set_state(saved)  # noqa: NPY002 - the bug
            return result

        return wrapped


@bug("stacked_is_alone")
class DrawsInThePenalty(RegularizerFunctions):
    def penalty(self, step, weights, outputs):
        return sum((weight * torch.randn(weight.shape)).square().sum() for weight in step.select(weights).values())
