"""Boxes in images, one for each row of a batch.

Shape letters: B rows of the batch, C channels, H height, W width.
"""

from __future__ import annotations

import torch
from torch import Tensor


def boxes(top: Tensor, left: Tensor, bottom: Tensor, right: Tensor, size: tuple[int, int]) -> Tensor:
    """Returns which pixels lie in each row's box, `(B, 1, H, W)` boolean.

    Args:
        top: First row of pixels, `(B,)`.
        left: First column, `(B,)`.
        bottom: The row behind the last one, `(B,)`.
        right: The column behind the last one, `(B,)`.
        size: H and W.
    """

    def within(first: Tensor, end: Tensor, count: int) -> Tensor:
        pixels = torch.arange(count, device=first.device)
        return (pixels >= first[:, None]) & (pixels < end[:, None])

    return (within(top, bottom, size[0])[:, :, None] & within(left, right, size[1])[:, None, :])[:, None]
