"""Bugs of losses, optimizers and schedules of the learning rate."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Annotated

import torch
import torch.nn.functional as F
from annotated_types import Ge, Gt, Lt
from kit_mutants import bug

from regplug.api import Search, Stackable
from regplug.losses import LossFunction
from regplug.optimizers import UpdateRule, subtract_scaled_

VALUES = {"kind": "loss", "tasks": ("regression",)}
CLASSES = {"kind": "loss", "tasks": ("classification",)}
RULE = {"kind": "optimizer"}


@dataclass(frozen=True)
class Delta:
    delta: Annotated[float, Gt(0), Stackable(), Search(low=0.1, high=10, log=True)] = 1.0
    "Size of an error from which on it counts linearly."


@dataclass(frozen=True)
class Keep:
    keep: Annotated[float, Ge(0), Lt(1), Stackable(), Search(low=0.1, high=0.95)] = 0.9
    "Share of the mean gradient that a step keeps."


class Squared(LossFunction):
    """A loss as it should be: bugs change one thing of it."""

    def per_sample(self, outputs, targets, settings):
        return (outputs - targets).square().mean(dim=1)


class Likelihood(LossFunction):
    def per_sample(self, outputs, targets, settings):
        return F.cross_entropy(outputs, targets, reduction="none")


@bug("is_a_loss", **VALUES)
def loss_of_torch(params):
    return torch.nn.MSELoss()


@bug("is_a_loss", **VALUES, default_for=("classification",))
class DefaultForAnotherTask(Squared):
    pass


@bug("default_is_regplugs", **CLASSES, default_for=("classification",))
class ClaimsTheDefault(Likelihood):
    pass


@bug("one_loss_for_each_row", **VALUES)
class TakesItsMean(LossFunction):
    def per_sample(self, outputs, targets, settings):
        return (outputs - targets).square().mean()


@bug("one_loss_for_each_row", **VALUES)
class OneForEachColumn(LossFunction):
    def per_sample(self, outputs, targets, settings):
        return (outputs - targets).square()


@bug("one_loss_for_each_row", **VALUES)
class AlwaysFloat32(Squared):
    def per_sample(self, outputs, targets, settings):
        return super().per_sample(outputs, targets, settings).float()


@bug("one_loss_for_each_row", **VALUES)
class VarianceOfTheBatch(LossFunction):
    def per_sample(self, outputs, targets, settings):
        return (outputs - targets).square().mean(dim=1) / targets.var(dim=0).mean()


@bug("rows_do_not_mix", **VALUES)
class ScaledByTheBatch(Squared):
    def per_sample(self, outputs, targets, settings):
        return super().per_sample(outputs, targets, settings) / (1 + targets.abs().max())


@bug("mean_is_the_mean", **VALUES)
class SumForMean(Squared):
    def mean(self, outputs, targets, settings):
        return self.per_sample(outputs, targets, settings).sum()


@bug("losing_changes_nothing", **VALUES)
class WritesToOutputs(LossFunction):
    def per_sample(self, outputs, targets, settings):
        with torch.no_grad():
            outputs.sub_(targets)
        return outputs.square().mean(dim=1)


@bug("losing_changes_nothing", **VALUES)
class RemembersItsScale(Squared):
    scale = 1.0

    def per_sample(self, outputs, targets, settings):
        self.scale *= 0.9
        return self.scale * super().per_sample(outputs, targets, settings)


@bug("losing_changes_nothing", **CLASSES)
class DrawsALabel(LossFunction):
    def per_sample(self, outputs, targets, settings):
        return F.cross_entropy(outputs + 0.01 * torch.rand_like(outputs), targets, reduction="none")


@bug("right_answer_costs_least", **CLASSES)
class WrongSign(Likelihood):
    def per_sample(self, outputs, targets, settings):
        return -super().per_sample(outputs, targets, settings)


@bug("right_answer_costs_least", **VALUES)
class TargetsOfTheNextColumn(LossFunction):
    def per_sample(self, outputs, targets, settings):
        return (outputs - targets.roll(1, 1)).square().mean(dim=1)


@bug("gradient_is_that_of_the_loss", **VALUES)
class DetachesAFactor(LossFunction):
    def per_sample(self, outputs, targets, settings):
        error = (outputs - targets).abs()
        return (error.detach() * error).mean(dim=1)


@bug("is_finite_far_out", **CLASSES)
class LogarithmOfSoftmax(LossFunction):
    def per_sample(self, outputs, targets, settings):
        return -outputs.softmax(1).gather(1, targets.unsqueeze(1)).squeeze(1).log()


@bug("is_finite_far_out", **VALUES)
class RootOfZero(LossFunction):
    def per_sample(self, outputs, targets, settings):
        return (outputs - targets).square().sum(dim=1).sqrt()


@bug("is_finite_far_out", **VALUES)
class NaiveLogCosh(LossFunction):
    def per_sample(self, outputs, targets, settings):
        return (outputs - targets).cosh().log().mean(dim=1)


@bug("soft_targets_are_taken", **CLASSES, soft_targets=True)
class SoftTargetsAsIndices(LossFunction):
    def per_sample(self, outputs, targets, settings):
        return -outputs.log_softmax(1).gather(1, targets.unsqueeze(1)).squeeze(1)


@bug("numbers_come_from_the_settings", **VALUES, params=Delta)
class DeltaOfTheParameters(LossFunction):
    def per_sample(self, outputs, targets, settings):
        return F.huber_loss(outputs, targets, delta=self.params.delta, reduction="none").mean(dim=1)


@bug("stacked_is_alone", **VALUES)
class BranchesOnAValue(Squared):
    def per_sample(self, outputs, targets, settings):
        each = super().per_sample(outputs, targets, settings)
        return each if each.mean() > 1e6 else each + 0.0


class Descent(UpdateRule):
    """An update rule as it should be: bugs change one thing of it."""

    def update(self, step, param, grad, state):
        return param - step.rate * grad, state


class Momentum(UpdateRule):
    slots = ("mean",)

    def update(self, step, param, grad, state):
        mean = step.settings["keep"] * state["mean"] + grad
        return param - step.rate * mean, {"mean": mean}


@bug("is_an_update_rule", **RULE)
def optimizer_of_torch(params):
    return torch.optim.SGD([torch.zeros(1)], lr=0.1)


@bug("moves_every_parameter", **RULE)
class LeavesBiasesBehind(Descent):
    def update(self, step, param, grad, state):
        return (param if param.ndim == 1 else param - step.rate * grad), state


@bug("moves_every_parameter", **RULE)
class DividesByZero(Descent):
    slots = ("square",)

    def update(self, step, param, grad, state):
        return param - step.rate * grad / state["square"].sqrt(), {"square": state["square"] + grad.square()}


@bug("rate_of_zero_moves_nothing", **RULE)
class DecaysWithoutTheRate(Descent):
    def update(self, step, param, grad, state):
        return 0.999 * param - step.rate * grad, state


@bug("gradients_stay", **RULE)
class ClipsInPlace(UpdateRule):
    def update_(self, params, grads, state, step):
        for grad in grads:
            grad.clamp_(-0.5, 0.5)
        subtract_scaled_(params, grads, step.rate)


@bug("state_is_all_it_keeps", **RULE)
class KeepsItInTheObject(UpdateRule):
    def __init__(self, params):
        super().__init__(params)
        self.means = {}

    def update(self, step, param, grad, state):
        self.means[param.shape] = mean = 0.9 * self.means.get(param.shape, 0.0) + grad
        return param - step.rate * mean, state


@bug("state_is_all_it_keeps", **RULE)
class CountsItsOwnSteps(Descent):
    steps = 0

    def update_(self, params, grads, state, step):
        self.steps += 1
        subtract_scaled_(params, grads, step.rate / self.steps)


@bug("moving_draws_nothing", **RULE)
class Langevin(Descent):
    def update(self, step, param, grad, state):
        return param - step.rate * (grad + torch.randn(param.shape)), state


@bug("numbers_come_from_the_settings", **RULE, params=Keep)
class KeepsAsTheParametersSay(Momentum):
    def update(self, step, param, grad, state):
        mean = self.params.keep * state["mean"] + grad
        return param - step.rate * mean, {"mean": mean}


@bug("stacked_is_alone", **RULE)
class NormOverAllRuns(UpdateRule):
    def update_(self, params, grads, state, step):
        norm = sum(grad.square().sum() for grad in grads).sqrt()
        subtract_scaled_(params, [grad / norm for grad in grads], step.rate)


@bug("stacked_is_alone", **RULE)
class FirstRunsRate(UpdateRule):
    def update_(self, params, grads, state, step):
        rate = step.rate if isinstance(step.rate, float) else float(step.rate[0])
        subtract_scaled_(params, grads, rate)


@bug("stacked_is_alone", **RULE)
class StateWithoutRuns(UpdateRule):
    def init(self, params, settings):
        return {"count": [torch.zeros(()) for _ in params]}

    def update_(self, params, grads, state, step):
        for count in state["count"]:
            count.add_(1)
        subtract_scaled_(params, grads, step.rate / float(state["count"][0]))


@bug("goes_downhill", **RULE)
class GoesUphill(Descent):
    def update(self, step, param, grad, state):
        return param + step.rate * grad, state


@bug("factor_is_a_number", kind="schedule")
def below_zero_at_the_end(params, step):
    return 1 - 1.5 * step.index / step.count


@bug("factor_is_a_number", kind="schedule")
def divides_by_what_one_step_has_not(params, step):
    return 1 - step.index / (step.count - 1)


@bug("factor_is_a_number", kind="schedule")
def a_tensor_for_a_number(params, step):
    return torch.tensor(0.5)


CALLS = []


@bug("step_decides_the_factor", kind="schedule")
def counts_its_calls(params, step):
    CALLS.append(step)
    return 1 / len(CALLS)


@bug("something_is_learned", kind="schedule")
def whole_numbers_alone(params, step):
    return (step.count - step.index - 1) // step.count


@bug("factor_needs_nothing_heavy", kind="schedule")
def in_a_module_with_torch(params, step):
    return 1.0
