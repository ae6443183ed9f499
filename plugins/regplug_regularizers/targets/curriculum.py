"""Self-paced learning."""

from __future__ import annotations

from typing import final

import torch
from torch import Tensor

from regplug.regularizer import EpochEnd, Outputs, RegularizerFunctions, Shapes, Step, Tensors


@final
class Curriculum(RegularizerFunctions):
    """Trains on the rows whose loss is below a threshold, which grows from epoch to epoch: easy ones first.

    In epoch e a row counts if its loss is below `threshold * growth^e`; the others count zero in the mean over the
    batch. Source: Kumar et al. 2010, equation 5, with the threshold 1 / K.
    """

    def init(self, shapes: Shapes, params: Tensors, buffers: Tensors) -> dict[str, Tensor]:
        """By how much the threshold has grown."""
        return {"grown": next(iter(params.values())).new_ones(())}

    def sample_losses(self, step: Step, losses: Tensor, outputs: Outputs) -> Tensor:
        """The losses below the threshold; 0 for the others."""
        threshold = step.settings["threshold"] * step.state["grown"]
        return torch.where(losses.detach() < threshold, losses, 0.0)

    def after_epoch(self, step: Step, metrics: Tensors, params: Tensors, buffers: Tensors) -> EpochEnd:
        """A greater threshold."""
        grown = (step.state["grown"] * step.settings["growth"]).to(step.state["grown"].dtype)
        return EpochEnd(params, buffers, {"grown": grown})
