"""A conformal threshold as part of the network that is captured."""

from __future__ import annotations

import torch
from torch import Tensor, nn

from regplug.bundles.isolate import Deployed


class Conformal(nn.Module):
    """Raw input to two outputs: the network's, and prediction sets or intervals.

    Args:
        deployed: Raw `(B, ...)` to logits, probabilities or values `(B, K)`.
        thresholds: One probability, or half the width of each value's interval `(K,)`.
        is_class: Whether the outputs are classes.
    """

    noise = None
    thresholds: Tensor

    def __init__(self, deployed: Deployed, thresholds: list[float], *, is_class: bool) -> None:
        super().__init__()
        self.deployed, self.is_class = deployed, is_class
        self.register_buffer("thresholds", torch.tensor(thresholds, dtype=torch.float32))
        self.eval().requires_grad_(False)

    def forward(self, raw: Tensor) -> tuple[Tensor, Tensor]:
        """Returns the outputs `(B, K)`, and booleans `(B, K)` or the ends of intervals `(B, K, 2)`."""
        output: Tensor = self.deployed(raw)
        return output, self.added(output)

    def added(self, output: Tensor) -> Tensor:
        """Returns booleans `(B, K)` or the ends of intervals `(B, K, 2)`, from an output `(B, K)`."""
        if not self.is_class:
            return torch.stack([output - self.thresholds, output + self.thresholds], dim=-1)
        shares = output if self.deployed.ending else output.softmax(1)
        return shares >= self.thresholds
