"""Components that are right, of kinds that do not ship: the kit must let every one of them pass."""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import Annotated

import numpy as np
import torch
from annotated_types import Ge, Gt, Le
from kit_mutants import DROPPING, PENALTY, Dropping, Rate, RightLayer, Strength
from kit_mutants_kinds import Look
from kit_mutants_models import rows, table
from kit_mutants_objective import distance, squares
from kit_mutants_phases import AVERAGE, NOISY, Average, Noisy
from kit_mutants_state import NORMALIZING, Statistics
from torch import nn

from regplug.api import (
    Activation,
    Dataset,
    Initializer,
    Model,
    Probe,
    Regularizer,
    Search,
    Stackable,
)
from regplug.noise import uniform
from regplug.regularizer import EpochEnd, RegularizerFunctions
from regplug.sites import Sites, Tap

HONEST = []


def right(kind, **fields):
    def put(target):
        name = "".join("_" + c.lower() if c.isupper() else c for c in target.__name__).strip("_")
        options = {
            "name": name,
            "target": f"{target.__module__}:{target.__qualname__}",
            "summary": "As it should be.",
            **fields,
        }
        HONEST.append(kind(**options))
        return target

    return put


@right(Regularizer, **DROPPING)
class RightDropout(Dropping):
    Layer = RightLayer


@right(Regularizer, **{**DROPPING, "tags": ("stochastic",)})
class Disturbed(Dropping):
    """Uniform noise on activations, which keeps no mean, with one number a row."""

    class Layer(RightLayer):
        def act(self, step, noise, x):
            return x + step.settings["rate"] * noise.view(-1, *[1] * (x.ndim - 1))

    def noise(self, shapes, settings):
        return {place.key: uniform(place.shape[:1]) for place in shapes.places}


@right(Regularizer, **NORMALIZING)
class Centring(RegularizerFunctions):
    def restructure(self, model, sites):
        for site in sites.chosen((), Sites.activations):
            sites.before(site, Statistics(site.input_shape[1]))


@right(Regularizer, tags=("normalization",))
class LayerNormalized(RegularizerFunctions):
    def restructure(self, model, sites):
        for site in sites.chosen((), Sites.activations):
            sites.before(site, nn.LayerNorm(site.input_shape[1:]))


@dataclass(frozen=True)
class Elastic:
    strength: Annotated[float, Ge(0), Stackable(off=0), Search(low=1e-3, high=1.0, log=True)] = 0.1
    "Of both parts."
    share: Annotated[float, Ge(0), Le(1), Stackable()] = 0.5
    "Of the first."


@right(Regularizer, params=Elastic, tags=("penalty",))
class TwoNorms(RegularizerFunctions):
    def penalty(self, step, weights, outputs):
        chosen, share = step.select(weights), step.settings["share"]
        absolute = sum(weight.abs().sum() for weight in chosen.values())
        return step.settings["strength"] * (share * absolute + (1 - share) * squares(chosen))


@right(Regularizer, **PENALTY)
class Confidence(RegularizerFunctions):
    """A penalty on what the network says, not on its weights."""

    def penalty(self, step, weights, outputs):
        logs = outputs.logits.log_softmax(1)
        return step.settings["strength"] * (math.log(logs.shape[1]) + (logs.exp() * logs).sum(1)).mean()


@right(Regularizer, params=Strength)
class Activity(RegularizerFunctions):
    """A penalty on activations, seen through taps."""

    def restructure(self, model, sites):
        for site in sites.chosen((), Sites.activations):
            sites.after(site, Tap())

    def penalty(self, step, weights, outputs):
        own = [tap for key, tap in sorted(outputs.taps.items()) if key.startswith("tested/")]
        return step.settings["strength"] * sum(tap.square().mean() for tap in own)


@right(Regularizer, params=Strength)
class TwoPasses(RegularizerFunctions):
    passes = 2

    def wrap_loss(self, step, loss):
        def wrapped(params):
            (first, one), (second, two) = loss(params), loss(params, 1)
            return (first + second) / 2 + step.settings["strength"] * distance(one, two), one

        return wrapped


@right(Regularizer, params=Strength, requires=("averaging",), after=("averaging",))
class WithOthers(RegularizerFunctions):
    """It requires another one, which the kit must find."""

    def penalty(self, step, weights, outputs):
        return step.settings["strength"] * squares(step.select(weights))


@right(Regularizer, **NOISY)
class RightNoise(Noisy):
    def batch(self, step, x, y):
        return x + step.settings["strength"] * step.noise["x"], y


@right(Regularizer, params=Strength)
class Shrinking(RegularizerFunctions):
    def gradients(self, step, params, grads):
        return {name: (1 - step.settings["strength"]) * grad for name, grad in grads.items()}, step.state


@right(Regularizer, params=Strength)
class Decaying(RegularizerFunctions):
    def decay(self, step, name, weight):
        return step.settings["strength"] if step.clock.roles.get(name) == "weight" else None


@dataclass(frozen=True)
class Bound:
    greatest: Annotated[float, Gt(0), Stackable(), Search(low=0.05, high=2.0, log=True)] = 0.3
    "Greatest size of a weight."


@right(Regularizer, params=Bound)
class Clamped(RegularizerFunctions):
    def project(self, step, name, weight):
        bound = step.settings["greatest"]
        return torch.minimum(torch.maximum(weight, -bound), bound)


@right(Regularizer, **AVERAGE)
class RightAverage(Average):
    pass


@right(Regularizer)
class HalvedRate(RegularizerFunctions):
    """Halves the rate where the validation loss does not fall."""

    def init(self, shapes, params, buffers):
        return {"best": next(iter(params.values())).new_full((), torch.inf)}

    def after_epoch(self, step, metrics, params, buffers):
        loss, best = metrics["valid/loss"], step.state["best"]
        fell = loss < best
        scale = torch.where(fell, torch.ones_like(best), torch.full_like(best, 0.5))
        return EpochEnd(params, buffers, {"best": torch.where(fell, loss, best)}, rate_scale=scale)


@right(Regularizer, params=Rate, tags=("stochastic",), stackable=False)
class NotStackable(Dropping):
    Layer = RightLayer


@right(Activation, range=(-1, math.inf), kinks=())
def smooth_elu(params):
    return nn.ELU()


@right(Activation, range=(0, 6), kinks=(0, 6))
def relu_six(params):
    return nn.ReLU6()


@right(Activation, range=(-0.308843, math.inf))
def soft_mish(params):
    return nn.Mish()


@right(Activation, range=(0, math.inf))
def sharp_softplus(params):
    return nn.Softplus()


@right(Activation, range=(0, 1), kinks=(-3, 3))
def hard_sigmoid(params):
    return nn.Hardsigmoid()


@right(Activation, kinks=(0,), gain=math.sqrt(2 / 1.01))
def trained_slope_without_a_declared_range(params):
    return nn.PReLU(init=0.1)


@right(Model)
def with_normalization_and_dropout(params, context):
    return nn.Sequential(
        nn.Flatten(),
        nn.Linear(math.prod(context.input_shape), 32),
        nn.BatchNorm1d(32),
        nn.ReLU(),
        nn.Dropout(0.1),
        nn.Linear(32, context.task.num_outputs),
    )


@right(Dataset, task="classification")
def standardised_by_its_training_rows(params, context):
    x, y = rows(context.data_seed)
    return table((x - x[:60].mean(0)) / x[:60].std(0), y)


@right(Dataset, task="classification")
def few_different_rows(params, context):
    x, y = rows(context.data_seed)
    return table(np.round(x - 3), y)


@right(Initializer)
def orthogonal_rows(params, role, tensor, generator):
    if role == "weight":
        nn.init.orthogonal_(tensor, generator=generator)


@right(Initializer, tags=("deterministic",))
def ramp(params, role, tensor, generator):
    if role == "weight":
        tensor.copy_(torch.linspace(-1, 1, tensor.numel()).view(tensor.shape))


@right(Initializer, sees_batch=True)
def scaled_to_the_inputs(params, layers, batch, generator):
    for layer in layers:
        for weight in layer.weights:
            weight.normal_(std=0.1 / float(batch.std()), generator=generator)


@right(Probe)
class FirstWeight(Look):
    pass
