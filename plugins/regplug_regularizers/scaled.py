"""A factor: one for both directions, or one forward and another one backward."""

from __future__ import annotations

from typing import final

from torch import Tensor, nn


def with_other_gradient(x: Tensor, forward: Tensor, backward: Tensor) -> Tensor:
    """Returns `forward * x`, whose gradient is `backward` times the one that comes in.

    Args:
        x: Any shape.
        forward: The factor of the value; broadcasts to the shape of `x`.
        backward: The factor of the gradient, likewise.
    """
    return backward * x + ((forward - backward) * x).detach()


@final
class Scaled(nn.Module):
    """`factor * x`, as a module of a trained network.

    Args:
        factor: A number.
    """

    def __init__(self, factor: float) -> None:
        super().__init__()
        self.factor = factor

    def forward(self, x: Tensor) -> Tensor:
        """Multiplies."""
        return self.factor * x
