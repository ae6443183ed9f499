"""Batch normalization, torch's own layer."""

from __future__ import annotations

from typing import final

import torch
from torch import Tensor, nn

from regplug.errors import CompositionError
from regplug.regularizer import RegularizerFunctions
from regplug.sites import Sites
from regplug_regularizers.normalization.places import Shape, put_normalizations

LAYERS: dict[int, type[nn.modules.batchnorm._BatchNorm]] = {
    2: nn.BatchNorm1d,
    3: nn.BatchNorm1d,
    4: nn.BatchNorm2d,
    5: nn.BatchNorm3d,
}
"""torch's layer by the number of axes that pass."""


@final
class GhostBatchNorm(nn.modules.batchnorm._BatchNorm):
    """Normalises each part of `rows` rows by statistics of its own; the running ones take the parts one by one.

    The rows that are left over go with the last part. Evaluation is that of a batch normalization.

    Args:
        channels: Length of the second axis.
        rows: Rows of a part.
        eps: Added to the variance.
        momentum: Weight of the newest part in the running statistics.

    Source: Hoffer et al. 2017, Train longer, generalize better, algorithm 1.
    """

    def __init__(self, channels: int, *, rows: int, eps: float, momentum: float) -> None:
        super().__init__(channels, eps=eps, momentum=momentum)
        self.rows = rows

    def forward(self, x: Tensor) -> Tensor:
        """Normalises part by part in training."""
        count = max(1, x.shape[0] // self.rows)
        if not self.training or count == 1:
            normalised: Tensor = super().forward(x)
            return normalised
        sizes = [self.rows] * (count - 1) + [x.shape[0] - self.rows * (count - 1)]
        return torch.cat([super(GhostBatchNorm, self).forward(part) for part in torch.split(x, sizes)])

    def _check_input_dim(self, input: Tensor) -> None:  # noqa: A002 - torch's name for it
        """Takes any number of axes."""


@final
class BatchNorm(RegularizerFunctions):
    """Puts a batch normalization before each activation, or behind the modules that `at` names.

    In training `y = (x - mean) / sqrt(var + eps) * weight + bias` with the batch's mean and *biased* variance for each
    channel; the running variance averages the *unbiased* one. In evaluation the running statistics take their place.
    Source: Ioffe and Szegedy 2015, as torch's nn.BatchNorm.
    """

    def restructure(self, model: nn.Module, sites: Sites) -> None:
        """Puts the layers in."""
        put_normalizations(sites, self.params.at, self._layer)

    def _layer(self, name: str, shape: Shape) -> nn.Module:
        if len(shape) not in LAYERS:
            raise CompositionError(
                f"batchnorm: what passes {name} has shape {shape} and no channel axis.",
                hint="Name modules with at= whose output is (batch, channels, ...).",
            )
        eps, momentum, ghost = self.params.eps, self.params.momentum, self.params.ghost
        if ghost == 1:
            raise CompositionError(
                "batchnorm: a ghost batch of one row has no variance.",
                hint="Choose batchnorm:ghost=2 or more, or ghost=0 for the whole batch.",
            )
        if ghost:
            return GhostBatchNorm(shape[1], rows=ghost, eps=eps, momentum=momentum)
        return LAYERS[len(shape)](shape[1], eps=eps, momentum=momentum)
