"""Converts the pixels of image files, in training and in prediction alike. numpy only; Pillow on demand."""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np

if TYPE_CHECKING:
    from PIL import Image


def eight_bits(image: Image.Image) -> Image.Image:
    """Returns a grey image of 16 bits with 8 bits, and any other image as it is.

    The pixels of 0 to 65535 are divided by 257 and rounded down. Pillow itself would cut them off at 255.

    Args:
        image: An image of any mode.
    """
    if not image.mode.startswith("I"):
        return image
    from PIL import Image

    return Image.fromarray((np.asarray(image) // 257).astype(np.uint8))
