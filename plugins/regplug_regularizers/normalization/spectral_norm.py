"""Spectral normalization, whose buffers are returned and not written: torch's own writes them in each forward pass.

Shape letters: O units, I inputs of a unit.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, final

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from regplug.regularizer import RegularizerFunctions, Step
from regplug.sites import Sites, WeightLayer
from regplug_regularizers.normalization.places import weights_of

START_ITERATIONS = 15
"""Iterations before training, as torch's own makes them."""


def power_iteration(weight_OI: Tensor, v_I: Tensor, iterations: int) -> tuple[Tensor, Tensor]:
    """Follows the first pair of singular vectors: `u = W v / |W v|`, `v = W^T u / |W^T u|`.

    Returns:
        u `(O,)` and v `(I,)`, without a graph.
    """
    with torch.no_grad():
        for _ in range(iterations):
            u_O = F.normalize(weight_OI @ v_I, dim=0)
            v_I = F.normalize(weight_OI.T @ u_O, dim=0)
    return u_O, v_I


@final
class SpectralNormLayer(WeightLayer):
    """`norm * W / (u^T W v)`, with W flattened to a row for each unit.

    Args:
        weight: Where to start.
        iterations: Power iterations at each step.
    """

    def __init__(self, weight: Tensor, iterations: int) -> None:
        super().__init__()
        self.iterations = iterations
        matrix = weight.detach().flatten(1)
        start_O = F.normalize(torch.ones_like(matrix[:, 0]), dim=0)
        u_O, v_I = power_iteration(matrix, F.normalize(matrix.T @ start_O, dim=0), START_ITERATIONS)
        self.register_buffer("u", u_O)
        self.register_buffer("v", v_I)

    def act(self, step: Step, noise: Any, weight: Tensor) -> tuple[Tensor, Mapping[str, Tensor]]:
        """Iterates, then divides."""
        u_O, v_I = power_iteration(weight.flatten(1), self.get_buffer("v"), self.iterations)
        return self._divided(step.settings, weight, u_O, v_I), {"u": u_O, "v": v_I}

    def evaluate(self, settings: Mapping[str, Tensor], weight: Tensor) -> Tensor:
        """Divides, with the vectors of the last step."""
        return self._divided(settings, weight, self.get_buffer("u"), self.get_buffer("v"))

    def _divided(self, settings: Mapping[str, Tensor], weight: Tensor, u_O: Tensor, v_I: Tensor) -> Tensor:
        return settings["norm"] * weight / (u_O @ weight.flatten(1) @ v_I)


@final
class SpectralNorm(RegularizerFunctions):
    """Gives each weight the same largest singular value, which power iterations follow.

    Source: Miyato et al. 2018, algorithm 1, and torch.nn.utils.parametrizations.spectral_norm.
    """

    def restructure(self, model: nn.Module, sites: Sites) -> None:
        """Puts a layer on each weight."""
        for site in weights_of(sites, self.params.at):
            weight = sites.module_of(site).weight
            sites.on_weight(site, SpectralNormLayer(weight, self.params.iterations))  # type: ignore[arg-type]
