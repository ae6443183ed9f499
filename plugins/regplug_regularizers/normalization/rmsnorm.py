"""Normalization by the root of the mean square, torch's own layer."""

from __future__ import annotations

from typing import final

from torch import nn

from regplug.regularizer import RegularizerFunctions
from regplug.sites import Sites
from regplug_regularizers.normalization.places import Shape, put_normalizations


@final
class RMSNorm(RegularizerFunctions):
    """Divides each row by the root of its mean square, over all its entries, with a weight for each entry.

    `y = x / sqrt(mean(x^2) + eps) * weight`, in training and in evaluation: no mean is subtracted and there is no bias.
    Source: Zhang and Sennrich 2019, Root Mean Square Layer Normalization; torch's nn.RMSNorm.
    """

    def restructure(self, model: nn.Module, sites: Sites) -> None:
        """Puts a layer before each activation, or where `at` says."""
        put_normalizations(sites, self.params.at, self._layer)

    def _layer(self, name: str, shape: Shape) -> nn.Module:
        return nn.RMSNorm(shape[1:], eps=self.params.eps)
