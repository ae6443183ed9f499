"""Dropout of inputs."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, final

from torch import Tensor

from regplug.noise import Draw, bits, keep_mask
from regplug.regularizer import RegularizerFunctions, Shapes, Step


@final
class FeatureDropout(RegularizerFunctions):
    """Sets each entry of the inputs to 0 with chance p and divides the others by 1 - p: dropout of the input layer.

    0 is a column's mean where inputs are standardised. Source: Srivastava et al. 2014, appendix A.4.
    """

    def noise(self, shapes: Shapes, settings: Mapping[str, Any]) -> Mapping[str, Draw]:
        """Bits for the mask."""
        return {"mask": bits(shapes.x)}

    def batch(self, step: Step, x: Tensor, y: Tensor) -> tuple[Tensor, Tensor]:
        """Inputs with entries dropped, and the targets as they are."""
        mask, scale = keep_mask(step.noise["mask"], step.settings["drop_probability"])
        return x * (mask * scale.to(x.dtype)), y
