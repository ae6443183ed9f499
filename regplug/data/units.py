"""Targets of a regression: scaled for the training, and back into the user's units.

Shape letters: B rows, K outputs.
"""

from __future__ import annotations

from collections import OrderedDict
from dataclasses import dataclass

import numpy as np
import torch
from torch import Tensor, nn

from regplug.data.raw import Array

LEARNED, UNITS = "learned", "units"
"""Under these names a network in the user's units holds the trained one and its last layer."""


@dataclass(frozen=True, kw_only=True)
class Units:
    """The units of a regression's targets: `target = scaled * scale + shift`.

    Args:
        shift: Mean of the training rows' targets, float64 `(K,)`.
        scale: Their standard deviation (n in the denominator), likewise; 1 where they do not vary.
    """

    shift: Array
    scale: Array

    def apply(self, scaled_BK: Array) -> Array:
        """Scaled values in the user's units, float64 `(B, K)`."""
        values: Array = np.asarray(scaled_BK, dtype=np.float64) * self.scale + self.shift
        return values

    def remove(self, targets_BK: Array) -> Array:
        """Targets as a run learns them, in the targets' own dtype `(B, K)`."""
        scaled = (np.asarray(targets_BK, dtype=np.float64) - self.shift) / self.scale
        return scaled.astype(targets_BK.dtype)

    def module(self) -> InUnits:
        """The same as a layer, float32."""
        return InUnits(*(torch.as_tensor(part, dtype=torch.float32) for part in (self.scale, self.shift)))


class InUnits(nn.Module):
    """The last layer of an exported regression: `y * scale + shift`, in training and in evaluation.

    Args:
        scale: `(K,)`.
        shift: `(K,)`.
    """

    scale: Tensor
    shift: Tensor

    def __init__(self, scale: Tensor, shift: Tensor) -> None:
        super().__init__()
        self.register_buffer("scale", scale)
        self.register_buffer("shift", shift)

    def forward(self, y: Tensor) -> Tensor:
        """Returns the values `(B, K)` in the user's units."""
        return y * self.scale + self.shift


def in_units(network: nn.Module, units: Units | None) -> nn.Module:
    """Returns a network with its outputs in the user's units; itself where its targets are not scaled."""
    if units is None:
        return network
    return nn.Sequential(OrderedDict([(LEARNED, network), (UNITS, units.module())]))


def fit_units(targets_BK: Array) -> Units:
    """Returns the units of training targets."""
    values = np.asarray(targets_BK, dtype=np.float64)
    varies = values.max(axis=0) > values.min(axis=0)
    return Units(shift=values.mean(axis=0), scale=np.where(varies, values.std(axis=0), 1.0))
