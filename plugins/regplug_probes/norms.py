"""Norms of the parameters."""

from __future__ import annotations

import torch

from regplug.api import NoParams
from regplug.probes import Probe, ProbeView


class WeightNorm(Probe):
    """`norm/weight`: the Euclidean norm sqrt(sum of w^2) over all weights, summed in float64.

    Biases, and scales and offsets of normalization layers, are left out.
    """

    def __init__(self, params: NoParams) -> None:
        self.params = params

    def measure(self, view: ProbeView) -> dict[str, float]:
        """Returns the one number."""
        weights = [view.params[name] for name, role in view.roles.items() if role == "weight"]
        squares = [weight.detach().double().square().sum() for weight in weights]
        return {"norm/weight": float(torch.stack(squares).sum().sqrt()) if squares else 0.0}
