"""Images moved, mirrored, turned and sheared, each row of a batch by numbers of its own.

Shape letters: B rows of the batch, C channels, H height, W width.
"""

from __future__ import annotations

import torch
import torch.nn.functional as F
from torch import Tensor


def mirrored(x: Tensor, is_mirrored: Tensor) -> Tensor:
    """Returns images with some rows of the batch mirrored, left to right; `is_mirrored` is `(B,)` boolean."""
    return torch.where(is_mirrored[:, None, None, None], x.flip(-1), x)


def moved(x: Tensor, down: Tensor, right: Tensor) -> Tensor:
    """Returns images moved by whole pixels; zeros come in at the edge.

    Args:
        x: `(B, C, H, W)`.
        down: Pixels, `(B,)`.
        right: Pixels, `(B,)`.
    """
    height, width = x.shape[-2:]
    rows = torch.arange(height, device=x.device) - down[:, None].long()
    columns = torch.arange(width, device=x.device) - right[:, None].long()
    picked = x.gather(2, rows.clamp(0, height - 1)[:, None, :, None].expand(x.shape))
    picked = picked.gather(3, columns.clamp(0, width - 1)[:, None, None, :].expand(x.shape))
    is_inside = ((rows >= 0) & (rows < height))[:, :, None] & ((columns >= 0) & (columns < width))[:, None, :]
    return torch.where(is_inside[:, None], picked, 0.0)


def rotations(angles: Tensor) -> Tensor:
    """Returns the matrices `(B, 2, 2)` that turn images counter-clockwise by angles in degrees, `(B,)`."""
    radians = torch.deg2rad(angles)
    cos, sin = radians.cos(), radians.sin()
    return torch.stack([torch.stack([cos, -sin], -1), torch.stack([sin, cos], -1)], -2)


def warped(x: Tensor, matrices: Tensor, offsets: Tensor, *, mode: str = "bilinear") -> Tensor:
    """Returns images of which the pixel at p, seen from the centre, is that of `x` at `M p + t`; zeros outside.

    Args:
        x: `(B, C, H, W)`.
        matrices: M, `(B, 2, 2)`, for (right, down).
        offsets: t, `(B, 2)`, in pixels.
        mode: How grid_sample reads between pixels.
    """
    height, width = x.shape[-2:]
    down, right = (torch.arange(size, device=x.device, dtype=x.dtype) - (size - 1) / 2 for size in (height, width))
    points = torch.stack([right.expand(height, width), down[:, None].expand(height, width)], -1)
    sources = (points[None, :, :, None, :] * matrices[:, None, None]).sum(-1) + offsets[:, None, None]
    scale = torch.tensor([2 / width, 2 / height], dtype=x.dtype, device=x.device)
    return F.grid_sample(x, sources * scale, mode=mode, padding_mode="zeros", align_corners=False)
