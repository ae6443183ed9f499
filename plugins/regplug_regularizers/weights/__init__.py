"""Weights: bounds and averages."""

from __future__ import annotations

from typing import Annotated

from annotated_types import Ge, Gt, Le, Lt

from regplug.api import Felt, Parameters, Regularizer, Schedulable, Search, Stackable


class MaxNormParams(Parameters):
    """Parameters of `max_norm`."""

    max_norm: Annotated[float, Gt(0), Schedulable(), Stackable(), Search(low=0.5, high=10.0, log=True)] = 3.0
    "Largest Euclidean norm of the weights into one unit."


class SwaParams(Parameters):
    """Parameters of `swa`."""

    start: Annotated[float, Ge(0), Lt(1), Stackable(), Search(low=0.25, high=0.9)] = 0.75
    "Share of the epochs after which averaging starts."


class ProximalL1Params(Parameters):
    """Parameters of `proximal_l1`."""

    strength: Annotated[float, Ge(0), Schedulable(), Stackable(off=0), Search(low=1e-5, high=1e-1, log=True)] = 1e-3
    "Factor of the sum of absolute weights; each step shrinks a weight by the learning rate times it."


class PruningParams(Parameters):
    """Parameters of `pruning`."""

    sparsity: Annotated[float, Ge(0), Lt(1), Stackable(off=0), Search(low=0.1, high=0.95)] = 0.5
    "Share of the entries of each weight that are zero at the end."
    start: Annotated[float, Ge(0), Lt(1)] = 0.0
    "Share of the steps after which pruning starts."
    end: Annotated[float, Gt(0), Le(1)] = 0.75
    "Share of the steps after which nothing more is pruned."
    every: Annotated[int, Ge(1)] = 10
    "Steps between two prunings."


class EmaParams(Parameters):
    """Parameters of `ema`."""

    decay: Annotated[float, Ge(0), Lt(1), Schedulable(), Stackable(), Search(low=0.9, high=0.999)] = 0.99
    "Weight of the old average at each step: about the last 1 / (1 - decay) steps count."


class SnapshotEnsembleParams(Parameters):
    """Parameters of `snapshot_ensemble`."""

    cycles: Annotated[int, Ge(1)] = 2
    "Number of cycles, and so of networks; the epochs are divided among them."
    lowest: Annotated[float, Gt(0), Le(1), Stackable(), Search(low=1e-3, high=0.5, log=True)] = 0.1
    "Learning rate at the end of a cycle, as a share of that at its start."


REGULARIZERS = (
    Regularizer(
        name="ema",
        target="regplug_regularizers.weights.ema:Ema",
        params=EmaParams,
        summary="Ends with an exponential moving average of the weights.",
        formula="average = decay * average + (1 - decay) * w",
        conflicts=("swa",),
        tags=("averaging",),
        source="Polyak and Juditsky 1992, Acceleration of Stochastic Approximation by Averaging",
    ),
    Regularizer(
        name="max_norm",
        target="regplug_regularizers.weights.max_norm:MaxNorm",
        params=MaxNormParams,
        summary="Keeps the norm of the weights into each unit below a bound.",
        formula="w_i * min(1, max_norm / |w_i|)",
        felt=Felt(values="max_norm=0.1"),
        tags=("projection",),
        needs_weights=True,
        source="Srebro and Shraibman 2005; Srivastava et al. 2014, section 5.1",
    ),
    Regularizer(
        name="swa",
        target="regplug_regularizers.weights.swa:Swa",
        params=SwaParams,
        summary="Ends with the average of the weights over the last epochs.",
        formula="mean of w over the epochs after start",
        felt=Felt(values="start=0.1"),
        tags=("averaging",),
        source="Izmailov et al. 2018, Averaging Weights Leads to Wider Optima and Better Generalization",
    ),
    Regularizer(
        name="proximal_l1",
        target="regplug_regularizers.weights.proximal_l1:ProximalL1",
        params=ProximalL1Params,
        summary="L1 by soft thresholding after each step: weights become exactly zero.",
        formula="sign(w) * max(|w| - rate * strength, 0)",
        tags=("sparsity",),
        needs_weights=True,
        source="Beck and Teboulle 2009, A Fast Iterative Shrinkage-Thresholding Algorithm",
    ),
    Regularizer(
        name="pruning",
        target="regplug_regularizers.weights.pruning:Pruning",
        params=PruningParams,
        summary="Sets the smallest weights to zero, more of them as training proceeds.",
        formula="w * mask; share of zeros = sparsity * (1 - (1 - (t - t0) / (t1 - t0))^3)",
        after=("projection",),
        tags=("sparsity",),
        needs_weights=True,
        source="Zhu and Gupta 2017, To Prune, or Not to Prune",
    ),
    Regularizer(
        name="snapshot_ensemble",
        target="regplug_regularizers.weights.snapshot_ensemble:SnapshotEnsemble",
        params=SnapshotEnsembleParams,
        summary="Trains in cycles of the learning rate and ends with an ensemble of their networks.",
        formula="mean of the cycles' networks; rate = lowest + (1 - lowest) * (1 + cos(pi * t)) / 2",
        conflicts=("averaging", "stopping"),
        tags=("ensemble", "learning-rate"),
        source="Huang et al. 2017, Snapshot Ensembles: Train 1, Get M for Free",
    ),
    Regularizer(
        name="unit_norm",
        target="regplug_regularizers.weights.unit_norm:UnitNorm",
        summary="Keeps the norm of the weights into each unit at 1.",
        formula="w / |w|, over the weights into a unit",
        conflicts=("max_norm",),
        tags=("projection",),
        needs_weights=True,
        source="Salimans and Kingma 2016, Weight Normalization, with the length fixed",
    ),
)
