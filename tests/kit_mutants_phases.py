"""Bugs of the data, gradient, optimizer, weights, epoch and finish phases."""

from __future__ import annotations

import torch
from kit_mutants import Strength, bug

from regplug.noise import normal, permutation
from regplug.regularizer import EpochEnd, RegularizerFunctions

DATA = {"params": Strength}
NOISY = {"params": Strength, "tags": ("stochastic", "keeps-mean")}


class Noisy(RegularizerFunctions):
    def noise(self, shapes, settings):
        return {"x": normal(shapes.x)}


@bug("batch_is_not_written", **NOISY)
class NoiseInPlace(Noisy):
    def batch(self, step, x, y):
        return x.add_(step.settings["strength"] * step.noise["x"]), y


@bug("batch_mean_is_kept", **NOISY)
class NoiseWithAMean(Noisy):
    def batch(self, step, x, y):
        return x + step.settings["strength"] * step.noise["x"].abs(), y


@bug("same_seed_same_batch", params=Strength, tasks=("classification",))
class LabelNoiseFromTheGlobalGenerator(RegularizerFunctions):
    def batch(self, step, x, y):
        return x, torch.where(torch.rand(y.shape) < step.settings["strength"], (y + 1) % 3, y)


@bug("other_seed_other_batch", **NOISY)
class TheSameNoiseInEachStep(Noisy):
    def batch(self, step, x, y):
        wave = torch.sin(100 * torch.arange(x.numel(), dtype=x.dtype)).view(x.shape)
        return x + step.settings["strength"] * wave, y


@bug("batch_is_exact_where_off", **NOISY)
class NoiseWhereOff(Noisy):
    def batch(self, step, x, y):
        return x + (0.01 + step.settings["strength"]) * step.noise["x"], y


@bug("targets_stay_targets", params=Strength, tasks=("classification",))
class TargetsNoDistribution(RegularizerFunctions):
    """Smoothing that adds strength / classes and forgets to take it away."""

    needs_soft_targets = True

    def batch(self, step, x, y):
        return x, y + step.settings["strength"] / y.shape[-1]


@bug("targets_stay_targets", tasks=("classification",))
class AClassTooMany(RegularizerFunctions):
    def batch(self, step, x, y):
        return x, y + 1


@bug("batch_keeps_shapes_and_dtypes", **DATA)
class DoublesTheBatch(RegularizerFunctions):
    def batch(self, step, x, y):
        return torch.cat([x, x]), torch.cat([y, y])


@bug("batch_keeps_shapes_and_dtypes", tags=("stochastic",))
class FailsOnTheLastBatch(RegularizerFunctions):
    """Indexes the batch by a permutation of a full one that it keeps itself."""

    def noise(self, shapes, settings):
        return {"partner": permutation(shapes.x[0])}

    def batch(self, step, x, y):
        return (x + x[step.noise["partner"]][:8].view(8, *x.shape[1:])) / 2, y


GRADIENT = {"params": Strength}


@bug("gradients_keep_shapes", **GRADIENT)
class DividesByZero(RegularizerFunctions):
    def gradients(self, step, params, grads):
        norm = torch.stack([grad.square().sum() for grad in grads.values()]).sum().sqrt()
        return {name: (1 - step.settings["strength"]) * grad / norm * norm for name, grad in grads.items()}, step.state


@bug("gradients_keep_shapes", **GRADIENT)
class LosesAGradient(RegularizerFunctions):
    def gradients(self, step, params, grads):
        return {name: grad for name, grad in grads.items() if grad.ndim > 1}, step.state


@bug("gradients_are_not_written", **GRADIENT)
class GradientsInPlace(RegularizerFunctions):
    def gradients(self, step, params, grads):
        return {name: grad.mul_(1 - step.settings["strength"]) for name, grad in grads.items()}, step.state


@bug("gradients_are_not_written", **GRADIENT)
class PerturbsTheWeightsThemselves(RegularizerFunctions):
    def perturb(self, step, params, grads):
        for name, param in params.items():
            param.add_(step.settings["strength"] * grads[name])
        return params


@bug("gradients_are_exact_where_off", **GRADIENT)
class PerturbsWhereOff(RegularizerFunctions):
    def perturb(self, step, params, grads):
        return {name: param + (1e-8 + step.settings["strength"]) * grads[name] for name, param in params.items()}


OPTIMIZER = {"params": Strength}


@bug("decay_spares_biases_and_norms", **OPTIMIZER)
class DecaysBiases(RegularizerFunctions):
    def decay(self, step, name, weight):
        return step.settings["strength"]


@bug("decay_is_a_strength", **OPTIMIZER)
class DecayAsAFactor(RegularizerFunctions):
    """Minus the strength: weights would grow."""

    def decay(self, step, name, weight):
        return -step.settings["strength"] if weight.ndim > 1 else None


@bug("decay_is_a_strength")
class DecayAsANumber(RegularizerFunctions):
    def decay(self, step, name, weight):
        return 0.1 if weight.ndim > 1 else None


WEIGHTS = {"params": Strength}


@bug("projecting_twice_is_projecting_once", **WEIGHTS)
class ShrinksAtEachProjection(RegularizerFunctions):
    def project(self, step, name, weight):
        return weight * (1 - step.settings["strength"])


@bug("weights_are_not_written", **WEIGHTS)
class ClampsInPlace(RegularizerFunctions):
    def project(self, step, name, weight):
        return weight.clamp_(-1, 1)


@bug("weights_keep_shapes", **WEIGHTS)
class FlattensTheWeights(RegularizerFunctions):
    def after_step(self, step, params):
        return {name: param.flatten() for name, param in params.items()}, step.state


AVERAGE = {}


class Average(RegularizerFunctions):
    """An exponential average as it should be: bugs change one thing of it."""

    def init(self, shapes, params, buffers):
        return {f"average.{name}": value.clone() for name, value in params.items()}

    def after_step(self, step, params):
        moved = {f"average.{n}": 0.9 * step.state[f"average.{n}"] + 0.1 * value for n, value in params.items()}
        return params, moved

    def finalize(self, step, params, buffers, batches):
        average = {name: step.state[f"average.{name}"] for name in params}
        return average, step.recompute_statistics(average, buffers, batches)


@bug("finishing_twice_is_finishing_once", **AVERAGE)
class FinishesAnew(Average):
    def finalize(self, step, params, buffers, batches):
        return {name: (value + step.state[f"average.{name}"]) / 2 for name, value in params.items()}, buffers


@bug("state_is_made_of_tensors", **AVERAGE)
class StateIsTheParameters(Average):
    def init(self, shapes, params, buffers):
        return {f"average.{name}": value for name, value in params.items()}


@bug("goes_on_after_any_epoch")
class AverageInTheObject(RegularizerFunctions):
    """State in the object and not in `state`: lost where a run stops and goes on."""

    average = None

    def after_step(self, step, params):
        if self.average is None:
            self.average = {name: value.clone() for name, value in params.items()}
        self.average = {name: 0.9 * self.average[name] + 0.1 * value for name, value in params.items()}
        return params, step.state

    def finalize(self, step, params, buffers, batches):
        return (dict(self.average) if self.average else params), buffers


EPOCH = {}


class Patient(RegularizerFunctions):
    def init(self, shapes, params, buffers):
        return {"best": next(iter(params.values())).new_full((), torch.inf)}


@bug("state_keeps_its_shape", **EPOCH)
class StateGrows(Patient):
    def after_epoch(self, step, metrics, params, buffers):
        return EpochEnd(params, buffers, {"best": torch.stack([step.state["best"].min(), metrics["valid/loss"]])})


@bug("stop_is_a_truth_and_scale_a_number", **EPOCH)
class StopsByAPythonTruth(Patient):
    def after_epoch(self, step, metrics, params, buffers):
        return EpochEnd(params, buffers, step.state, stop=bool(metrics["valid/loss"] > step.state["best"]))


@bug("stop_is_a_truth_and_scale_a_number", **EPOCH)
class ScalesTheRateToNothing(Patient):
    def after_epoch(self, step, metrics, params, buffers):
        return EpochEnd(params, buffers, step.state, rate_scale=torch.zeros(()))


@bug("epoch_end_writes_nothing", **EPOCH)
class WritesTheState(Patient):
    def after_epoch(self, step, metrics, params, buffers):
        step.state["best"].copy_(torch.minimum(step.state["best"], metrics["valid/loss"]))
        return EpochEnd(params, buffers, step.state)


@bug("evaluated_is_like_the_network", **EPOCH)
class EvaluatesByWriting(Patient):
    def after_epoch(self, step, metrics, params, buffers):
        return EpochEnd(params, buffers, step.state)

    def evaluated(self, step, params, buffers):
        for value in params.values():
            value.mul_(0.5)
        return params, buffers


@bug("effect_is_felt", **AVERAGE)
class EvaluatesWhatItTrained(Average):
    """Keeps an average in order to evaluate it, and evaluates the trained weights."""

    finalize = RegularizerFunctions.finalize

    def evaluated(self, step, params, buffers):
        return params, buffers


@bug("effect_is_felt", **EPOCH)
class ComparesWithItself(Patient):
    """Remembers the loss before it compares with what it remembers, so it never cuts the rate."""

    def after_epoch(self, step, metrics, params, buffers):
        best = torch.minimum(metrics["valid/loss"], step.state["best"])
        scale = torch.where(best > metrics["valid/loss"], 0.5, 1.0)
        return EpochEnd(params, buffers, {"best": best}, rate_scale=scale)


@bug("effect_is_felt", **EPOCH)
class OnlyRemembers(Patient):
    """Has a state that nothing reads."""
