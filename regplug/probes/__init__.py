"""Probes: measurements of a model in training that never change the trained weights."""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Mapping
from dataclasses import dataclass

from torch import Tensor

from regplug.regularizer import Role


@dataclass(frozen=True, kw_only=True)
class ProbeView:
    """What a probe sees of one run. Read only: a probe must not write into the tensors.

    Args:
        params: Effective parameters by name, detached from the graph.
        roles: What each parameter is, by the same names.
    """

    params: Mapping[str, Tensor]
    roles: Mapping[str, Role]


class Probe(ABC):
    """A measurement, taken at each evaluation."""

    @abstractmethod
    def measure(self, view: ProbeView) -> dict[str, float]:
        """Returns the measured numbers by metric name: a prefix of its own, a slash, the quantity."""
