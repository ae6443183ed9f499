"""Label smoothing."""

from __future__ import annotations

from typing import final

from torch import Tensor

from regplug.regularizer import RegularizerFunctions, Step


@final
class LabelSmoothing(RegularizerFunctions):
    """Trains on `(1 - strength) * t + strength / classes`, as torch's cross entropy does.

    Source: Szegedy et al. 2016.
    """

    needs_soft_targets = True

    def batch(self, step: Step, x: Tensor, y: Tensor) -> tuple[Tensor, Tensor]:
        """The same inputs, smoothed target probabilities `(batch, classes)`."""
        strength = step.settings["strength"]
        return x, (1 - strength) * y + strength / y.shape[-1]
