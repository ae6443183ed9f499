"""Stochastic depth: whole residual branches are dropped."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, final

from torch import Tensor, nn

from regplug.noise import Draw, bits
from regplug.regularizer import RegularizerFunctions, Shapes, Step
from regplug.sites import SiteLayer, Sites
from regplug_regularizers.noise.dropout import dropout


@final
class StochasticDepthLayer(SiteLayer):
    """Drops a branch.

    Args:
        depth: Which share of the branches this one ends, in (0, 1].
    """

    def __init__(self, depth: float) -> None:
        super().__init__()
        self.depth = depth

    def act(self, step: Step, noise: Any, x: Tensor) -> Tensor:
        """With chance `depth * p` 0, else `x / (1 - depth * p)`."""
        return dropout(x, noise.view(-1, *[1] * (x.ndim - 1)), self.depth * step.settings["drop_probability"])


@final
class StochasticDepth(RegularizerFunctions):
    """Drops branch l of L residual branches with chance `l / L * drop_probability`, for a row or for the whole batch.

    What is kept is scaled up in training and evaluation is the identity, as torchvision.ops.stochastic_depth, which
    draws its own numbers. The paper scales in evaluation instead, and drops for the whole batch.

    Source: Huang et al. 2016, with its rule of linear decay.
    """

    def restructure(self, model: nn.Module, sites: Sites) -> None:
        """Puts a layer behind each branch."""
        branches = sites.chosen(self.params.at, Sites.branches)
        for number, site in enumerate(branches, start=1):
            sites.after(site, StochasticDepthLayer(number / len(branches)))

    def noise(self, shapes: Shapes, settings: Mapping[str, Any]) -> Mapping[str, Draw]:
        """One number for each row, or for the whole batch."""
        if self.params.mode == "batch":
            return {place.key: bits((1,), per_sample=False) for place in shapes.places}
        return {place.key: bits(place.shape[:1]) for place in shapes.places}
