"""Cutout.

Shape letters: B rows of the batch, C channels, H height, W width.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, final

import torch
from torch import Tensor

from regplug.noise import Draw, uniform
from regplug.regularizer import RegularizerFunctions, Shapes, Step
from regplug_regularizers.augmentation.boxes import boxes


def cut_squares(centres: Tensor, side: Tensor, size: tuple[int, int]) -> Tensor:
    """Returns which pixels are cut, `(B, 1, H, W)` boolean: a square around each centre, less what is outside.

    As in the authors' code, half a side and the centre are rounded down to pixels.

    Args:
        centres: Where the centres are, from the top and from the left, in [0, 1), `(B, 2)`.
        side: Scalar in [0, 1], as a share of the image's shorter side.
        size: H and W.
    """
    half = (side * min(size) / 2).floor()
    rows, columns = (centres[:, 0] * size[0]).floor(), (centres[:, 1] * size[1]).floor()
    return boxes(rows - half, columns - half, rows + half, columns + half, size)


@final
class Cutout(RegularizerFunctions):
    """Sets a square of each image to zero, at a place of its own: the mean, where inputs are standardised.

    The centre may be anywhere in the image, so that a part of the square may lie outside.
    Source: DeVries and Taylor 2017.
    """

    def noise(self, shapes: Shapes, settings: Mapping[str, Any]) -> Mapping[str, Draw]:
        """The centre of each row's square."""
        return {"centre": uniform((shapes.x[0], 2))}

    def batch(self, step: Step, x: Tensor, y: Tensor) -> tuple[Tensor, Tensor]:
        """Images `(B, C, H, W)` with a square cut out, and the targets as they are."""
        height, width = x.shape[-2:]
        cut = cut_squares(step.noise["centre"], step.settings["side"], (height, width))
        return torch.where(cut, 0.0, x), y
