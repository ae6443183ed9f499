"""Mixup."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, final

from torch import Tensor

from regplug.noise import Draw, beta, permutation
from regplug.regularizer import RegularizerFunctions, Shapes, Step


@final
class Mixup(RegularizerFunctions):
    """Trains on `s * x_i + (1 - s) * x_j` and the same blend of the targets, with one `s ~ Beta(alpha, alpha)` a step.

    Class targets become probabilities. Source: Zhang et al. 2018.
    """

    needs_soft_targets = True

    def noise(self, shapes: Shapes, settings: Mapping[str, Any]) -> Mapping[str, Draw]:
        """The share and the partners of a step."""
        return {"share": beta(settings["alpha"]), "partner": permutation(shapes.x[0])}

    def batch(self, step: Step, x: Tensor, y: Tensor) -> tuple[Tensor, Tensor]:
        """Blended inputs and targets."""
        share, partner = step.noise["share"], step.noise["partner"]
        return share * x + (1 - share) * x[partner], share * y + (1 - share) * y[partner]
