"""Components that are right and use all of the contract: the kit must let every one of them pass."""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import Annotated

import torch
import torch.nn.functional as F
from annotated_types import Ge
from kit_honest import right
from kit_mutants import Strength
from kit_mutants_contract import CONNECT, ROWS, Connect, Focal, Lagging, OnWeights, Pruned, Scheduled, Share
from kit_mutants_networks import Scaled
from torch import nn

from regplug.api import Probe, Regularizer, Stackable
from regplug.noise import uniform
from regplug.probes import Probe as ProbeFunctions
from regplug.regularizer import EpochEnd, RegularizerFunctions
from regplug.sites import SiteLayer, Sites, Tap, WeightLayer


@right(Regularizer, **ROWS)
class RightFocal(Focal):
    pass


@right(Regularizer, params=Strength, tasks=("classification",))
class RememberedRows(RegularizerFunctions):
    """Weighs rows by a running average of their losses."""

    def init(self, shapes, params, buffers):
        return {"average": next(iter(params.values())).new_zeros(shapes.rows)}

    def sample_losses(self, step, losses, outputs):
        return losses * (1 + step.settings["strength"] * step.state["average"][step.batch.rows])

    def after_step(self, step, params):
        rows, average = step.batch.rows, step.state["average"]
        losses = F.cross_entropy(step.outputs.logits, step.batch.labels, reduction="none")
        return params, {"average": average.index_put((rows,), 0.9 * average[rows] + 0.1 * losses)}


@right(Regularizer, **CONNECT)
class RightConnect(Connect):
    pass


@right(Regularizer)
class OddWeights(OnWeights):
    """A weight that is the cube of what is trained, with a way back."""

    class Layer(WeightLayer):
        def act(self, step, noise, weight):
            return weight**3

        def evaluate(self, settings, weight):
            return weight**3

        def right_inverse(self, weight):
            return weight.sign() * weight.abs() ** (1 / 3)


@right(Regularizer)
class Spectral(OnWeights):
    """A weight over its largest singular value, with a buffer and no way back."""

    def layer(self, weight):
        return SpectralLayer(weight)


class SpectralLayer(WeightLayer):
    def __init__(self, weight):
        super().__init__()
        self.register_buffer("u", F.normalize(torch.ones_like(weight.detach().flatten(1)[:, 0]), dim=0))

    def act(self, step, noise, weight):
        matrix = weight.flatten(1)
        with torch.no_grad():
            u = F.normalize(matrix @ F.normalize(matrix.T @ self.u, dim=0), dim=0)
        return self.evaluate({}, weight), {"u": u}

    def evaluate(self, settings, weight):
        matrix = weight.flatten(1)
        return weight / (self.u @ matrix @ F.normalize(matrix.T @ self.u, dim=0).detach())


@right(Regularizer)
class LowRank(RegularizerFunctions):
    """Replaces each linear layer by a product of two, with new weights of the run's seed."""

    def restructure(self, model, sites):
        for site in sites.chosen((), Sites.weighted):
            if isinstance(site.module, nn.Linear):
                rows, columns = site.module.weight.shape
                sites.replace(site, nn.Sequential(nn.Linear(columns, 2, bias=False), nn.Linear(2, rows)))


@right(Regularizer, params=Share)
class RightScaled(Scaled):
    pass


@right(Regularizer, params=Share, tags=("stochastic",))
class Shaken(RegularizerFunctions):
    """ShakeDrop: it acts in evaluation, draws, and has another gradient than its output."""

    class Layer(SiteLayer):
        def act(self, step, noise, x):
            share, shape = step.settings["share"], (-1, *[1] * (x.ndim - 1))
            forward, backward = (1 - share * part.view(shape) for part in noise.unbind(-1))
            return (forward - backward) * x.detach() + backward * x

        def evaluate(self, settings, x):
            return (1 - settings["share"] / 2) * x

        def settled(self, settings):
            return Fixed(1 - settings["share"] / 2)

    def restructure(self, model, sites):
        for site in sites.chosen((), Sites.branches):
            sites.after(site, self.Layer())

    def noise(self, shapes, settings):
        return {place.key: uniform((place.shape[0], 2)) for place in shapes.places}


class Fixed(nn.Module):
    def __init__(self, factor):
        super().__init__()
        self.factor = factor

    def forward(self, x):
        return self.factor * x


@right(Regularizer, params=Strength)
class InputGradients(RegularizerFunctions):
    def penalty(self, step, weights, outputs):
        gradient = step.gradient(lambda x: step.run(x=x).logits.square().sum(), step.batch.x)
        return step.settings["strength"] * gradient.square().flatten(1).sum(1).mean()


@right(Regularizer, params=Strength)
class Remembers(RegularizerFunctions):
    """DeCov: its tap's key is known only after it has restructured the model."""

    def restructure(self, model, sites):
        site = sites.chosen((), Sites.activations)[-1]
        self.key = f"{sites.owner}/{sites.after(site, Tap()).key}"

    def penalty(self, step, weights, outputs):
        features = outputs.taps[self.key].flatten(1)
        centred = features - features.mean(0)
        covariance = centred.T @ centred / len(features)
        return step.settings["strength"] / 2 * (covariance.square().sum() - covariance.diagonal().square().sum())


@dataclass(frozen=True)
class Pull:
    strength: Annotated[float, Ge(0), Stackable()] = 0.1
    "Of the penalty; at 0 the factors are still trained."


@right(Regularizer, params=Pull)
class PullsItsOwnParameter(RegularizerFunctions):
    """A penalty on trained factors of the activations, zero with zero gradient at the start."""

    class Layer(SiteLayer):
        def __init__(self):
            super().__init__()
            self.factor = nn.Parameter(torch.ones(()))

        def act(self, step, noise, x):
            return self.factor * x

        def evaluate(self, settings, x):
            return self.factor * x

        def settled(self, settings):
            return TrainedFactor(self.factor)

    def restructure(self, model, sites):
        for site in sites.chosen((), Sites.activations):
            sites.after(site, self.Layer())

    def penalty(self, step, weights, outputs):
        own = [value for name, value in weights.items() if step.clock.roles.get(name) == "auxiliary"]
        return step.settings["strength"] / 2 * sum((value - 1).square() for value in own)


class TrainedFactor(nn.Module):
    def __init__(self, factor):
        super().__init__()
        self.factor = nn.Parameter(factor.detach().clone())

    def forward(self, x):
        return self.factor * x


@right(Regularizer, params=Strength)
class Taught(RegularizerFunctions):
    """A distance to a slow average of the network, which begins after the first epoch."""

    def init(self, shapes, params, buffers):
        return {name: value.clone() for name, value in params.items()}

    def penalty(self, step, weights, outputs):
        if step.clock.epoch == 0:
            return None
        with torch.no_grad():
            teacher = step.run(params=step.state, training=False).logits
        return step.settings["strength"] * (outputs.logits - teacher).square().mean()

    def after_step(self, step, params):
        return params, {name: 0.9 * step.state[name] + 0.1 * value for name, value in params.items()}


@right(Regularizer)
class RightPruned(Pruned):
    def after_step(self, step, params):
        now = step.weights(params)
        masks = {name: step.state[f"mask.{name}"] * (value.abs() > 0.05) for name, value in now.items()}
        return params, {f"mask.{name}": mask for name, mask in masks.items()}


@right(Regularizer)
class RightLagging(Lagging):
    def evaluated(self, step, params, buffers):
        return step.state, step.recompute_statistics(step.state, buffers)


@right(Regularizer)
class StopsWhenItRises(RegularizerFunctions):
    """Early stopping: a short run meets its case only after the validation loss has fallen for some epochs."""

    def init(self, shapes, params, buffers):
        return {"best": next(iter(params.values())).new_full((), torch.inf)}

    def after_epoch(self, step, metrics, params, buffers):
        loss, best = metrics["valid/loss"], step.state["best"]
        return EpochEnd(params, buffers, {"best": torch.minimum(loss, best)}, stop=loss > best)


@right(Regularizer)
class TwoNetworks(RegularizerFunctions):
    """Ends with the network of the first epoch and the last one; its state is the parameters themselves."""

    def init(self, shapes, params, buffers):
        return {name: value.clone() for name, value in params.items()}

    def after_epoch(self, step, metrics, params, buffers):
        return EpochEnd(params, buffers, dict(params) if step.clock.epoch == 1 else step.state)

    def finalize(self, step, params, buffers, batches):
        first = dict(step.state)
        return [(first, step.recompute_statistics(first, buffers, batches)), (params, buffers)]


@right(Regularizer)
class LastLayerRounded(RegularizerFunctions):
    """Other weights where no batch statistics depend on them: the old statistics are right."""

    def finalize(self, step, params, buffers, batches):
        return {n: v.half().to(v.dtype) if n == "output.bias" else v for n, v in params.items()}, buffers


@right(Regularizer, params=Scheduled)
class FollowsItsSchedule(RegularizerFunctions):
    def penalty(self, step, weights, outputs):
        return step.settings["strength"] * sum(weight.square().sum() for weight in step.select(weights).values())


@right(Probe)
class Everything(ProbeFunctions):
    """Looks at all that there is to see."""

    def measure(self, view):
        objective = sum(float(value.square().sum()) for value in view.objective_gradients.values())
        moved = sum(float(value.square().sum()) for value in view.last_update.values())
        dead = [float((value <= 0).double().mean()) for value in view.activations.values()]
        return {
            "flow/gradient": math.sqrt(objective),
            "flow/update": math.sqrt(moved),
            "flow/nonpositive": sum(dead) / len(dead),
            "flow/confidence": float(view.logits.abs().max() + view.losses.mean()),
            "flow/loss": sum(float(value.abs().sum()) for value in view.loss_gradients.values()),
        }
