"""Bugs of row losses, weights as places, further passes, ends and schedules."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Annotated

import torch
import torch.nn.functional as F
from annotated_types import Ge, Lt
from kit_mutants import Strength, bug

from regplug.api import Schedulable, Search, Stackable
from regplug.noise import bits, keep_mask, uniform
from regplug.probes import Probe
from regplug.regularizer import EpochEnd, RegularizerFunctions
from regplug.sites import SiteLayer, Sites, WeightLayer

ROWS = {"params": Strength, "tasks": ("classification",)}


class Focal(RegularizerFunctions):
    """A focal loss as it should be: bugs change one thing of it."""

    def factors(self, step, outputs):
        probability = outputs.logits.softmax(1).gather(1, step.batch.labels[:, None])[:, 0]
        return (1 - probability) ** step.settings["strength"]

    def sample_losses(self, step, losses, outputs):
        return self.factors(step, outputs) * losses


@bug("each_row_keeps_a_loss", **ROWS)
class AveragesItself(Focal):
    def sample_losses(self, step, losses, outputs):
        return super().sample_losses(step, losses, outputs).mean()


@bug("each_row_keeps_a_loss", **ROWS)
class DividesByTheLossOfTheBest(Focal):
    def sample_losses(self, step, losses, outputs):
        return losses * (losses.min() - losses.min()) / (losses.min() - losses.min())


@bug("row_losses_keep_their_gradient", **ROWS)
class LossesWithoutAGraph(Focal):
    def sample_losses(self, step, losses, outputs):
        return super().sample_losses(step, losses, outputs).detach()


@bug("row_losses_are_not_written", **ROWS)
class LossesInPlace(Focal):
    def sample_losses(self, step, losses, outputs):
        return losses.mul_(self.factors(step, outputs))


@dataclass(frozen=True)
class Share:
    share: Annotated[float, Ge(0), Lt(1), Schedulable(), Stackable(off=0), Search(low=0.1, high=0.6)] = 0.5
    "Share of the entries that are dropped."


CONNECT = {"params": Share, "tags": ("stochastic", "keeps-mean")}


class OnWeights(RegularizerFunctions):
    """Puts a layer on each weight."""

    def layer(self, weight):
        return self.Layer()

    def restructure(self, model, sites):
        for site in sites.weighted():
            sites.on_weight(site, self.layer(site.module.weight))


class Connect(OnWeights):
    """DropConnect as it should be: bugs change one thing of it."""

    class Layer(WeightLayer):
        def act(self, step, noise, weight):
            mask, scale = keep_mask(noise, step.settings["share"])
            return weight * (mask * scale.to(weight.dtype))

    def noise(self, shapes, settings):
        return {place.key: bits(place.shape, per_sample=False) for place in shapes.places}


@bug("mean_is_kept", **CONNECT)
class ConnectWithoutScaling(Connect):
    class Layer(WeightLayer):
        def act(self, step, noise, weight):
            return weight * keep_mask(noise, step.settings["share"])[0]


@bug("training_draws_nothing_itself", **CONNECT)
class WeightNoiseOfItsOwn(Connect):
    class Layer(WeightLayer):
        def act(self, step, noise, weight):
            return F.dropout(weight, 0.5)


@bug("gradient_flows", **CONNECT)
class WeightCutFromTheGraph(Connect):
    class Layer(Connect.Layer):
        def act(self, step, noise, weight):
            return super().act(step, noise, weight).detach()


@bug("evaluation_is_repeatable", **CONNECT)
class WeightNoiseInEvaluation(Connect):
    class Layer(Connect.Layer):
        def evaluate(self, settings, weight):
            return F.dropout(weight, 0.5)


@bug("looking_at_weights_moves_nothing")
class ShakenAtEachLook(OnWeights):
    """What a penalty sees of a weight is drawn anew."""

    class Layer(WeightLayer):
        def act(self, step, noise, weight):
            return weight

        def evaluate(self, settings, weight):
            return weight * (1 + 0.01 * torch.rand(()))


@bug("evaluation_leaves_buffers")
class CountsItsLooks(OnWeights):
    """A buffer that moves whenever the network is evaluated."""

    class Layer(WeightLayer):
        def __init__(self):
            super().__init__()
            self.register_buffer("looks", torch.zeros(()))

        def act(self, step, noise, weight):
            return weight

        def evaluate(self, settings, weight):
            self.looks.add_(1)
            return weight * (1 - 0.01 * self.looks)


@bug("way_back_gives_the_weight", params=Strength)
class NoWayBack(OnWeights):
    class Layer(WeightLayer):
        def act(self, step, noise, weight):
            return (1 + step.settings["strength"]) * weight

        def evaluate(self, settings, weight):
            return (1 + settings["strength"]) * weight

        def right_inverse(self, weight):
            return weight


@bug("shapes_and_dtypes_are_kept")
class WritesItsBuffer(OnWeights):
    class Layer(WeightLayer):
        def __init__(self):
            super().__init__()
            self.register_buffer("steps", torch.zeros(()))

        def act(self, step, noise, weight):
            self.steps.add_(1)
            return weight


@bug("no_tensor_is_a_plain_attribute")
class KeepsTheLastWeight(OnWeights):
    class Layer(WeightLayer):
        def act(self, step, noise, weight):
            self.last = weight.detach().clone()
            return weight


@bug("trains_and_repeats", params=Strength)
class RunsAPassThatItDoesNotDeclare(RegularizerFunctions):
    """Runs the second pass of a step with one pass declared, beside layers that draw."""

    def restructure(self, model, sites):
        for site in sites.chosen((), Sites.activations):
            sites.after(site, Connected())

    def noise(self, shapes, settings):
        return {place.key: uniform(place.shape) for place in shapes.places}

    def penalty(self, step, weights, outputs):
        return step.settings["strength"] * (step.run(number=1).logits - outputs.logits).square().mean()


class Connected(SiteLayer):
    def act(self, step, noise, x):
        return x * (1 + 0.1 * (noise - 0.5))


@bug("penalty_has_a_gradient", params=Strength)
class GradientOfInputsCut(RegularizerFunctions):
    def penalty(self, step, weights, outputs):
        gradient = step.gradient(lambda x: step.run(x=x).logits.square().sum(), step.batch.x)
        return step.settings["strength"] * gradient.detach().square().mean()


@bug("stacked_is_alone", params=Strength)
class AnotherPassWhereItIsHard(RegularizerFunctions):
    """Branches on the size of an input gradient."""

    def penalty(self, step, weights, outputs):
        gradient = step.gradient(lambda x: step.run(x=x).logits.square().sum(), step.batch.x)
        is_hard = gradient.abs().max() > 0
        return step.settings["strength"] * (gradient.square().mean() if is_hard else 0 * gradient.sum())


class Pruned(RegularizerFunctions):
    """Weights below a share of the greatest are kept at zero: bugs change one thing of it."""

    def init(self, shapes, params, buffers):
        return {f"mask.{name}": next(iter(params.values())).new_ones(shape) for name, shape in shapes.weights.items()}

    def project(self, step, name, weight):
        return weight * step.state[f"mask.{name}"] if step.clock.roles.get(name) == "weight" else weight


@bug("weights_are_not_written")
class WritesItsMask(Pruned):
    def project(self, step, name, weight):
        return weight * step.state[f"mask.{name}"].mul_(weight.abs() > 0.1)


@bug("state_keeps_its_shape")
class LosesItsState(Pruned):
    def after_step(self, step, params):
        return params, {}


@bug("state_keeps_its_shape")
class MaskOfTruths(Pruned):
    def after_step(self, step, params):
        return params, {name: value > 0 for name, value in step.state.items()}


class Lagging(RegularizerFunctions):
    """A slow average that is evaluated and ended with: bugs change one thing of it."""

    def init(self, shapes, params, buffers):
        return {name: value.clone() for name, value in params.items()}

    def after_step(self, step, params):
        return params, {name: 0.9 * step.state[name] + 0.1 * value for name, value in params.items()}


@bug("statistics_belong_to_the_weights")
class EvaluatedWithOldStatistics(Lagging):
    def evaluated(self, step, params, buffers):
        return step.state, buffers


@bug("statistics_belong_to_the_weights")
class EndsWithOldStatistics(Lagging):
    def finalize(self, step, params, buffers, batches):
        return [(step.state, buffers), (params, buffers)]


@bug("evaluated_is_like_the_network")
class EvaluatedByWritingBuffers(Lagging):
    def after_epoch(self, step, metrics, params, buffers):
        return EpochEnd(params, buffers, step.state)

    def evaluated(self, step, params, buffers):
        for value in buffers.values():
            value.mul_(0)
        return step.state, buffers


@bug("members_are_networks")
class EndsWithWeightsAlone(Lagging):
    def finalize(self, step, params, buffers, batches):
        return [(step.state, {}), (params, {})] if buffers else [(params,), (params,)]


@bug("members_are_networks")
class EndsWithNoNetwork(Lagging):
    def finalize(self, step, params, buffers, batches):
        return []


@bug("members_are_networks")
class EndsByWriting(Lagging):
    def finalize(self, step, params, buffers, batches):
        for name, value in params.items():
            value.copy_(step.state[name] / 2)
        return params, step.recompute_statistics(params, buffers, batches)


@bug("finishing_twice_is_finishing_once")
class EndsWithTheMiddle(Lagging):
    """Each finish goes half the way to the average."""

    def finalize(self, step, params, buffers, batches):
        middle = {name: (value + step.state[name]) / 2 for name, value in params.items()}
        return [(middle, buffers), (middle, buffers)]


@dataclass(frozen=True)
class Scheduled:
    strength: Annotated[float, Ge(0), Schedulable(), Stackable(off=0), Search(low=0.1, high=1.0)] = 0.1
    "What it is multiplied with."


@bug("schedule_is_followed", params=Scheduled)
class KeepsTheFirstStrength(RegularizerFunctions):
    """Remembers the strength of the first step, for good."""

    def init(self, shapes, params, buffers):
        return {"strength": next(iter(params.values())).new_full((), -1.0)}

    def penalty(self, step, weights, outputs):
        kept = step.state["strength"]
        strength = torch.where(kept < 0, step.settings["strength"], kept)
        return strength * sum(weight.square().sum() for weight in step.select(weights).values())

    def after_step(self, step, params):
        kept = step.state["strength"]
        return params, {"strength": torch.where(kept < 0, step.settings["strength"], kept)}


@bug("schedule_is_followed", params=Scheduled)
class ReadsThePlainNumber(RegularizerFunctions):
    """Multiplies by the parameter as it was typed, which a schedule is not."""

    def noise(self, shapes, settings):
        self.half = 0.5 * settings["strength"]
        return {}

    def penalty(self, step, weights, outputs):
        return self.half * sum(weight.square().sum() for weight in step.select(weights).values())


@bug("measuring_changes_nothing", "probe")
class ScalesActivations(Probe):
    def measure(self, view):
        return {"act/mean": float(sum(value.abs_().mean() for value in view.activations.values()))}


@bug("measuring_changes_nothing", "probe")
class SortsLosses(Probe):
    def measure(self, view):
        view.losses.copy_(view.losses.sort().values)
        return {"loss/median": float(view.losses[len(view.losses) // 2])}


@bug("measures_finite_numbers", "probe")
class RatioToNothing(Probe):
    """Divides by the last update of a parameter that did not move."""

    def measure(self, view):
        moved = sum(float(value.abs().sum()) for value in view.last_update.values())
        return {"update/ratio": float(torch.tensor(moved) / torch.tensor(0.0))}
