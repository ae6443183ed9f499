"""Losses and optimizers that are right, of kinds that do not ship."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Annotated

import torch
import torch.nn.functional as F
from annotated_types import Ge, Gt, Lt
from kit_honest import right
from kit_mutants_training import Keep

from regplug.api import Loss, Optimizer, Stackable
from regplug.losses import LossFunction
from regplug.optimizers import UpdateRule, add_product_, multiply_

VALUES = {"tasks": ("regression",)}
CLASSES = {"tasks": ("classification",)}


@right(Loss, **VALUES)
class LogCosh(LossFunction):
    """`log cosh e` without an overflow."""

    def per_sample(self, outputs, targets, settings):
        size = (outputs - targets).abs()
        return (size + F.softplus(-2 * size) - 0.6931471805599453).mean(dim=1)


@dataclass(frozen=True)
class Level:
    level: Annotated[float, Gt(0), Lt(1), Stackable()] = 0.3
    "Share of the targets that shall lie below the output."


@right(Loss, **VALUES, params=Level)
class Pinball(LossFunction):
    """A quantile's loss: one side costs more than the other."""

    def per_sample(self, outputs, targets, settings):
        error, level = targets - outputs, settings["level"]
        return torch.maximum(level * error, (level - 1) * error).mean(dim=1)


@right(Loss, **CLASSES)
class Hinge(LossFunction):
    """Of classes only."""

    def per_sample(self, outputs, targets, settings):
        correct = outputs.gather(1, targets.unsqueeze(1))
        return ((1 + outputs - correct).relu().sum(dim=1) - 1) / outputs.shape[1]


@dataclass(frozen=True)
class Power:
    gamma: Annotated[float, Ge(0), Stackable(off=0)] = 2.0
    "How much less a sure answer counts."


@right(Loss, **CLASSES, params=Power, soft_targets=True)
class Focal(LossFunction):
    """Cross entropy in which sure answers count less; for probabilities in the sum over classes."""

    def per_sample(self, outputs, targets, settings):
        logs = outputs.log_softmax(1)
        soft = targets if targets.is_floating_point() else F.one_hot(targets, outputs.shape[1]).to(outputs.dtype)
        return -(soft * (1 - logs.exp()).clamp_min(1e-12).pow(settings["gamma"]) * logs).sum(dim=1)


@right(Loss, tasks=("classification", "regression"))
class ForBothTasks(LossFunction):
    """Squared distance to the targets, or to the classes as corners."""

    def per_sample(self, outputs, targets, settings):
        wanted = targets if targets.is_floating_point() else F.one_hot(targets, outputs.shape[1]).to(outputs.dtype)
        return (outputs - wanted).square().mean(dim=1)


@right(Optimizer, params=Keep)
class Signum(UpdateRule):
    """Against the sign of a mean gradient."""

    slots = ("mean",)

    def update(self, step, param, grad, state):
        keep = step.settings["keep"]
        mean = keep * state["mean"] + (1 - keep) * grad
        return param - step.rate * mean.sign(), {"mean": mean}


@right(Optimizer)
class Lars(UpdateRule):
    """As far as the norm of the parameter says: a tensor of one run as a whole."""

    def update(self, step, param, grad, state):
        trust = 0.1 * param.norm() / (grad.norm() + 1e-8)
        return param - step.rate * trust * grad, state


@dataclass(frozen=True)
class Rho:
    rho: Annotated[float, Ge(0), Lt(1), Stackable()] = 0.9
    "Share of the means that a step keeps."


@right(Optimizer, params=Rho)
class Adadelta(UpdateRule):
    """On lists of tensors, with two slots."""

    slots = ("square", "moved")

    def update_(self, params, grads, state, step):
        rho = step.settings["rho"]
        multiply_(state["square"], rho)
        add_product_(state["square"], grads, grads, 1 - rho)
        rooted = [(moved + 1e-3).sqrt() / (square + 1e-3).sqrt() for square, moved in zip(*state.values(), strict=True)]
        moves = [root * grad for root, grad in zip(rooted, grads, strict=True)]
        multiply_(state["moved"], rho)
        add_product_(state["moved"], moves, moves, 1 - rho)
        for param, move in zip(params, moves, strict=True):
            rate = step.rate if isinstance(step.rate, float) else step.rate.view(-1, *[1] * (param.ndim - 1))
            param.sub_(rate * move)


@right(Optimizer, stackable=False)
class OneAtATime(UpdateRule):
    """Looks at a value, which no stack can."""

    def update(self, step, param, grad, state):
        return (param - step.rate * grad if float(grad.norm()) < 1e9 else param), state
