"""Random erasing.

Shape letters: B rows of the batch, C channels, H height, W width, A attempts.
"""

from __future__ import annotations

import math
from collections.abc import Mapping
from typing import Any, final

import torch
from torch import Tensor

from regplug.noise import Draw, normal, uniform
from regplug.regularizer import RegularizerFunctions, Shapes, Step
from regplug_regularizers.augmentation.boxes import boxes

ATTEMPTS = 10
"""As torchvision: where no box of so many fits into the image, nothing is erased."""
LEAST_AREA = 0.02
LEAST_RATIO = 0.3


def erased_boxes(draws: Tensor, largest: Tensor, size: tuple[int, int]) -> Tensor:
    """Returns which pixels each row loses, `(B, 1, H, W)` boolean: the first box drawn that fits into the image.

    Args:
        draws: Uniform on [0, 1), `(B, A, 4)`: area, aspect ratio, and where the box lies, from the top and the left.
        largest: Greatest area of a box, as a share of the image: scalar.
        size: H and W.

    Source: torchvision's RandomErasing, with scale (0.02, largest) and ratio (0.3, 1 / 0.3).
    """
    height, width = size
    share, aspect, down, across = draws.unbind(-1)
    area = height * width * (LEAST_AREA + (largest - LEAST_AREA).clamp(min=0) * share)
    ratio = torch.exp(math.log(LEAST_RATIO) * (1 - 2 * aspect))
    tall, wide = (area * ratio).sqrt().round(), (area / ratio).sqrt().round()
    fits = (tall < height) & (wide < width)
    first = fits.to(torch.int8).argmax(1, keepdim=True)
    tops, lefts = (down * (height - tall + 1)).floor(), (across * (width - wide + 1)).floor()
    top, left, tall, wide, has_one = (each.gather(1, first)[:, 0] for each in (tops, lefts, tall, wide, fits))
    return boxes(top, left, top + tall, left + wide, size) & has_one[:, None, None, None]


@final
class RandomErasing(RegularizerFunctions):
    """Fills a box of random size and shape with zeros or noise, with a chance, in each image at a place of its own.

    Its area is up to `largest` of the image. Source: Zhong et al. 2020, algorithm 1; what is filled in is that of
    torchvision's RandomErasing.
    """

    def noise(self, shapes: Shapes, settings: Mapping[str, Any]) -> Mapping[str, Draw]:
        """Whether, where, and what is filled in."""
        rows = shapes.x[0]
        draws = {"coin": uniform((rows,)), "box": uniform((rows, ATTEMPTS, 4))}
        return {**draws, "fill": normal(shapes.x)} if self.params.fill == "noise" else draws

    def batch(self, step: Step, x: Tensor, y: Tensor) -> tuple[Tensor, Tensor]:
        """Images `(B, C, H, W)` with a box erased, and the targets as they are."""
        height, width = x.shape[-2:]
        erased = erased_boxes(step.noise["box"], step.settings["largest"], (height, width))
        is_chosen = step.noise["coin"] < step.settings["probability"]
        fill = step.noise["fill"] if self.params.fill == "noise" else torch.zeros_like(x)
        return torch.where(erased & is_chosen[:, None, None, None], fill, x), y
