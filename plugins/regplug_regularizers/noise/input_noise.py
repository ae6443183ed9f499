"""Gaussian noise on the inputs."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, final

from torch import Tensor

from regplug.noise import Draw, normal
from regplug.regularizer import RegularizerFunctions, Shapes, Step


@final
class InputNoise(RegularizerFunctions):
    """Trains on `x + std * N(0, 1)`, after normalisation; evaluation sees `x`.

    For small `std` this adds `std^2 / 2` times the squared norm of the outputs' input gradient to a squared loss.
    Source: Bishop 1995.
    """

    def noise(self, shapes: Shapes, settings: Mapping[str, Any]) -> Mapping[str, Draw]:
        """One number for each input entry."""
        return {"input": normal(shapes.x)}

    def batch(self, step: Step, x: Tensor, y: Tensor) -> tuple[Tensor, Tensor]:
        """Noisy inputs, the same targets."""
        return x + step.settings["std"] * step.noise["input"], y
