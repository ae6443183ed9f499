"""Probes: measurements of a model during training that never change the trained weights.

Shape letters: S rows of the sample, K outputs.
"""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Mapping
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
    """

    logits: Tensor
    losses: Tensor
    activations: Named


class Gradients(NamedTuple):
    """Gradients by parameter, in training mode with noise, averaged over the batches of the sample.

    Args:
        loss: Of the data loss.
        objective: Of the objective: data loss and penalties.
    """

    loss: Named
    objective: Named


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
        """Returns metric name -> number. A name is a prefix of the probe's own, a slash and the quantity."""


__all__ = ["Evaluated", "Gradients", "Look", "Probe", "ProbeView"]
