"""Instance normalization: a group normalization with one group for each channel."""

from __future__ import annotations

from math import prod
from typing import final

from torch import nn

from regplug.errors import CompositionError
from regplug.regularizer import RegularizerFunctions
from regplug.sites import Site, Sites
from regplug_regularizers.normalization.places import Shape, put_normalizations


@final
class InstanceNorm(RegularizerFunctions):
    """Normalises each channel of each row over its positions, with a weight and a bias for each channel.

    The same in training and in evaluation. It is torch's nn.InstanceNorm without running statistics, which fails on an
    empty batch; so nn.GroupNorm computes it, with one group for each channel.
    Source: Ulyanov et al. 2016, Instance Normalization.
    """

    def restructure(self, model: nn.Module, sites: Sites) -> None:
        """Puts a layer before each activation of feature maps, or where `at` says."""
        put_normalizations(sites, self.params.at, self._layer, _maps)

    def _layer(self, name: str, shape: Shape) -> nn.Module:
        if len(shape) < 3 or prod(shape[2:]) == 1:
            raise CompositionError(
                f"instancenorm: what passes {name} has shape {shape}: one number a channel, which minus its mean is 0.",
                hint="Name modules with at= whose output is (batch, channels, ...), or take layernorm.",
            )
        return nn.GroupNorm(shape[1], shape[1], eps=self.params.eps)


def _maps(sites: Sites) -> list[Site]:
    return [site for site in sites.activations() if len(site.input_shape) > 2]
