"""Layer normalization, torch's own layer."""

from __future__ import annotations

from typing import final

from torch import nn

from regplug.regularizer import RegularizerFunctions
from regplug.sites import Sites
from regplug_regularizers.normalization.places import Shape, put_normalizations


@final
class LayerNorm(RegularizerFunctions):
    """Normalises each row over all its entries, `(C, H, W)` of an image, with a weight and a bias for each entry.

    `y = (x - mean) / sqrt(var + eps) * weight + bias` with the biased variance, in training and in evaluation.
    Source: Ba et al. 2016, Layer Normalization; torch's nn.LayerNorm.
    """

    def restructure(self, model: nn.Module, sites: Sites) -> None:
        """Puts a layer before each activation, or where `at` says."""
        put_normalizations(sites, self.params.at, self._layer)

    def _layer(self, name: str, shape: Shape) -> nn.Module:
        return nn.LayerNorm(shape[1:], eps=self.params.eps)
