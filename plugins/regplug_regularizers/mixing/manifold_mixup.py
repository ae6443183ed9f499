"""Manifold mixup."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, final

import torch
from torch import Tensor, nn

from regplug.noise import Draw, beta, permutation, uniform
from regplug.regularizer import RegularizerFunctions, Shapes, Step
from regplug.sites import SiteLayer, Sites


@final
class ManifoldMixup(RegularizerFunctions):
    """Mixes the rows of a batch at one place of the network, drawn at each step: the input or behind an activation.

    There `h = s * h_i + (1 - s) * h_j`, and the targets are the same blend, with one `s ~ Beta(alpha, alpha)` a step.
    Source: Verma et al. 2019.
    """

    needs_soft_targets = True
    _count: int

    def restructure(self, model: nn.Module, sites: Sites) -> None:
        """Puts a layer behind each chosen module."""
        chosen = sites.chosen(_globs(self.params.at), Sites.activations)
        self._count = 1 + len(chosen)
        for site in chosen:
            sites.after(site, MixingLayer(self._count))

    def noise(self, shapes: Shapes, settings: Mapping[str, Any]) -> Mapping[str, Draw]:
        """The share, the partners and the place of a step."""
        place = uniform((), per_sample=False)
        return {"share": beta(settings["alpha"]), "partner": permutation(shapes.x[0]), "place": place}

    def batch(self, step: Step, x: Tensor, y: Tensor) -> tuple[Tensor, Tensor]:
        """Inputs, blended where the place of this step is the input, and blended targets."""
        return blended_at(step, x, 0, self._count), blended(step, y)


@final
class MixingLayer(SiteLayer):
    """Blends what passes where it is the place of this step.

    Args:
        count: How many places there are, the input included.
    """

    def __init__(self, count: int) -> None:
        super().__init__()
        self.count = count

    def act(self, step: Step, noise: Any, x: Tensor) -> Tensor:
        """The activation, or its blend."""
        return blended_at(step, x, 1 + self.index, self.count)


def blended_at(step: Step, values: Tensor, place: int, count: int) -> Tensor:
    """The blend of the rows where the place drawn for this step is `place` of `count`, else the rows."""
    is_here = (step.noise["place"] * count).floor() == place
    return torch.where(is_here, blended(step, values), values)


def blended(step: Step, values: Tensor) -> Tensor:
    """`s * v_i + (1 - s) * v_j`."""
    share = step.noise["share"]
    mixed: Tensor = share * values + (1 - share) * values[step.noise["partner"]]
    return mixed


def _globs(at: str | tuple[str, ...]) -> tuple[str, ...]:
    return (at,) if isinstance(at, str) else at
