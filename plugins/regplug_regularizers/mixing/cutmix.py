"""CutMix.

Shape letters: B rows of the batch, C channels, H height, W width.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, final

import torch
from torch import Tensor

from regplug.noise import Draw, beta, permutation, uniform
from regplug.regularizer import RegularizerFunctions, Shapes, Step


def box(share: Tensor, centre: Tensor, height: int, width: int) -> Tensor:
    """Returns the box that is cut, `(H, W)` boolean: `sqrt(1 - share)` of each side, and less where it meets the edge.

    As torchvision's CutMix, half a side and the centre are rounded down to pixels.

    Args:
        share: Scalar in [0, 1], the area that should be left.
        centre: Two numbers in [0, 1): where the centre is, from the top and from the left.
        height: H, in pixels.
        width: W, in pixels.
    """
    half = 0.5 * (1 - share).sqrt()

    def within(size: int, at: Tensor) -> Tensor:
        pixels = torch.arange(size, device=share.device)
        middle, reach = (at * size).floor(), (half * size).floor()
        return (pixels >= middle - reach) & (pixels < middle + reach)

    return within(height, centre[0])[:, None] & within(width, centre[1])


@final
class CutMix(RegularizerFunctions):
    """Pastes a box of another image, the same box in all images of a batch, and mixes the targets by its area.

    `x = M * x_i + (1 - M) * x_j` and `y = s * y_i + (1 - s) * y_j` with `s` the share of pixels that is left; the box
    should leave `l ~ Beta(alpha, alpha)`. Source: Yun et al. 2019.
    """

    needs_soft_targets = True

    def noise(self, shapes: Shapes, settings: Mapping[str, Any]) -> Mapping[str, Draw]:
        """The share, the centre of the box and the partners of a step."""
        return {
            "share": beta(settings["alpha"]),
            "centre": uniform((2,), per_sample=False),
            "partner": permutation(shapes.x[0]),
        }

    def batch(self, step: Step, x: Tensor, y: Tensor) -> tuple[Tensor, Tensor]:
        """Images `(B, C, H, W)` with a box of their partners', and targets mixed by its area."""
        partner = step.noise["partner"]
        pasted = box(step.noise["share"], step.noise["centre"], *x.shape[-2:])
        share = 1 - pasted.to(y.dtype).mean()
        return torch.where(pasted, x[partner], x), share * y + (1 - share) * y[partner]
