"""Swap noise.

Shape letters: B rows of the batch, F columns.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, final

import torch
from torch import Tensor

from regplug.noise import Draw, uniform
from regplug.regularizer import RegularizerFunctions, Shapes, Step


def swapped(x: Tensor, others: Tensor, is_swapped: Tensor) -> Tensor:
    """Returns the rows with some entries taken from the same column of another row.

    Args:
        x: `(B, ...)`.
        others: Which row each entry would be taken from, of the shape of `x`, int64.
        is_swapped: Which entries are, of the shape of `x`, boolean.
    """
    return torch.where(is_swapped, x.gather(0, others), x)


@final
class SwapNoise(RegularizerFunctions):
    """Replaces each entry, with a chance, by that of a random row of the batch in the same column.

    So a column keeps its values, categories and gaps included. Source: Yoon et al. 2020 (VIME), equation 3.
    """

    def noise(self, shapes: Shapes, settings: Mapping[str, Any]) -> Mapping[str, Draw]:
        """Which entries are swapped, and with which row."""
        return {"coin": uniform(shapes.x), "row": uniform(shapes.x)}

    def batch(self, step: Step, x: Tensor, y: Tensor) -> tuple[Tensor, Tensor]:
        """Inputs with entries swapped, and the targets as they are."""
        others = (step.noise["row"] * len(x)).floor().long()
        return swapped(x, others, step.noise["coin"] < step.settings["probability"]), y
