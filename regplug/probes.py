"""Probes: measurements of a model during training that never change the trained weights.

Shape letters: S rows of the sample, K outputs, H held-out rows.
"""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Mapping
from dataclasses import dataclass, field
from functools import cached_property
from typing import Any, NamedTuple, Protocol

from torch import Tensor

from regplug.api import NoParams
from regplug.regularizer import Batch, Role

Named = Mapping[str, Tensor]


class Evaluated(NamedTuple):
    """One pass in evaluation mode over the sample.

    Args:
        logits: Logits or values `(S, K)`.
        losses: Data loss of each row `(S,)`.
        activations: Output of each call of each module, `(S, ...)`, by `module#call` in the order of the forward pass.
        functions: Those of `activations` that are outputs of activation functions.
    """

    logits: Tensor
    losses: Tensor
    activations: Named
    functions: Named


class Gradients(NamedTuple):
    """Gradients by parameter, in training mode with noise, averaged over the batches of the sample.

    Args:
        loss: Of the data loss.
        objective: Of the objective: data loss and penalties.
    """

    loss: Named
    objective: Named


class Layer(NamedTuple):
    """A layer with weights.

    Args:
        name: Name of its module.
        weights: Names of its effective weights in `ProbeView.params`, without biases.
        trained: Names of the trained tensors behind them, in the gradients, the last update and `trained_params`: the
            same names, unless a weight is parametrized.
        biases: Names of its trained biases.
    """

    name: str
    weights: tuple[str, ...]
    trained: tuple[str, ...]
    biases: tuple[str, ...]


class HeldOut(NamedTuple):
    """The outputs in evaluation mode on the validation rows, or on the test rows if there are none.

    Args:
        logits: Logits or values `(H, K)`.
        y: Classes `(H,)`, or values.
    """

    logits: Tensor
    y: Tensor


@dataclass(frozen=True, kw_only=True)
class Histogram:
    """Counts of values in bins.

    Args:
        edges: Edges of the bins `(bins + 1,)`, ascending.
        counts: Values in each bin `(bins,)`.
    """

    edges: tuple[float, ...] = field(repr=False)
    counts: tuple[int, ...] = field(repr=False)


class Look(Protocol):
    """Computes the parts of a view that need a forward pass. The host provides it."""

    def sample(self) -> Batch:
        """The sample of rows."""

    def evaluated(self) -> Evaluated:
        """One pass in evaluation mode over the sample."""

    def gradients(self) -> Gradients:
        """Gradients over the sample."""

    def last_update(self) -> Named:
        """The change of each trained parameter in the last step."""

    def layers(self, activations: Named) -> tuple[Layer, ...]:
        """The layers with weights, in the order of the forward pass."""

    def trained_params(self) -> Named:
        """The trained parameters as they are evaluated."""

    def held_out(self) -> HeldOut:
        """The outputs on held-out rows."""

    def loss_at(self, params: Named, batch: Batch) -> Tensor:
        """The mean data loss of a batch at other values of the trained parameters, in evaluation mode."""


class ProbeView:
    """A probe's read-only view of one run: a probe must not write into the tensors.

    Results that need a forward pass are computed on first use, on a fixed sample of training rows, and shared by the
    probes of a run. Computing them changes neither weights nor running statistics nor random numbers of the run.

    Args:
        params: Effective weights by name, as in evaluation, detached from the graph.
        roles: Role of each weight, by the same names.
        epoch: Epochs done.
        look: Computes the rest.
    """

    def __init__(self, *, params: Named, roles: Mapping[str, Role], epoch: int = 0, look: Look | None = None) -> None:
        self.params, self.roles, self.epoch, self._look = params, roles, epoch, look

    @cached_property
    def sample(self) -> Batch:
        """The sample: the same training rows at each measurement, 256 or as many as there are."""
        return self._computed().sample()

    @property
    def logits(self) -> Tensor:
        """Logits or values on the sample, in evaluation mode, `(S, K)`."""
        return self._evaluated.logits

    @property
    def losses(self) -> Tensor:
        """The data loss of each row of the sample, in evaluation mode, `(S,)`."""
        return self._evaluated.losses

    @property
    def activations(self) -> Named:
        """Output of each call of each module on the sample, in evaluation mode: `module#call` -> `(S, ...)`."""
        return self._evaluated.activations

    @property
    def function_outputs(self) -> Named:
        """Those of `activations` that are outputs of activation functions. A functional activation is not found."""
        return self._evaluated.functions

    @cached_property
    def layers(self) -> tuple[Layer, ...]:
        """The layers with weights, in the order of the forward pass; normalization layers are left out."""
        return self._computed().layers(self.activations)

    @cached_property
    def trained_params(self) -> Named:
        """The trained parameters as they are evaluated, by the names of the gradients."""
        return self._computed().trained_params()

    @cached_property
    def held_out(self) -> HeldOut:
        """The outputs on the validation rows, or on the test rows if there are none, in evaluation mode."""
        return self._computed().held_out()

    def loss_at(self, params: Named, rows: slice = slice(None)) -> Tensor:
        """Returns the mean data loss over the sample in evaluation mode, twice differentiable.

        Args:
            params: Values of all trained parameters, with the names of `trained_params`.
            rows: A part of the sample.
        """
        sample = self.sample
        part = Batch(sample.x[rows], sample.y[rows], sample.labels[rows], sample.rows[rows])
        return self._computed().loss_at(params, part)

    @property
    def loss_gradients(self) -> Named:
        """Gradient of the data loss by trained parameter, in training mode."""
        return self._gradients.loss

    @property
    def objective_gradients(self) -> Named:
        """Gradient of the objective, penalties included, by trained parameter, in training mode."""
        return self._gradients.objective

    @cached_property
    def last_update(self) -> Named:
        """Trained parameter after the last step minus before it; empty before the first step."""
        return self._computed().last_update()

    @cached_property
    def _evaluated(self) -> Evaluated:
        return self._computed().evaluated()

    @cached_property
    def _gradients(self) -> Gradients:
        return self._computed().gradients()

    def _computed(self) -> Look:
        if self._look is None:
            raise RuntimeError("This view has weights only: there is no model to run.")
        return self._look


class Probe(ABC):
    """A measurement, taken at each evaluation.

    Args:
        params: An instance of the descriptor's parameter dataclass.
    """

    def __init__(self, params: Any = None) -> None:
        self.params: Any = NoParams() if params is None else params

    @abstractmethod
    def measure(self, view: ProbeView) -> dict[str, float]:
        """Returns metric name -> number; a value that does not exist, or is not finite, is left out.

        A name is a prefix of the probe's own, a slash and the quantity: `gradient/norm`. A value of one layer has
        another slash and the layer: `gradient/norm/hidden1`. The runs of a study do not log these to MLflow; the study
        keeps them in a file.
        """

    def histograms(self, view: ProbeView) -> dict[str, Histogram]:
        """Returns name -> histogram, which a single run draws before its first step and at its end; by default none."""
        return {}


__all__ = ["Evaluated", "Gradients", "HeldOut", "Histogram", "Layer", "Look", "Probe", "ProbeView"]
