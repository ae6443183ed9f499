"""Group normalization, torch's own layer."""

from __future__ import annotations

from math import gcd, prod
from typing import final

from torch import nn

from regplug.errors import CompositionError
from regplug.regularizer import RegularizerFunctions
from regplug.sites import Sites
from regplug_regularizers.normalization.places import Shape, put_normalizations


@final
class GroupNorm(RegularizerFunctions):
    """Normalises each row over each group of channels, with a weight and a bias for each channel.

    The same in training and in evaluation. One group is a layer normalization, as many as channels an instance
    normalization, but for their weights. Source: Wu and He 2018, Group Normalization; torch's nn.GroupNorm.
    """

    def restructure(self, model: nn.Module, sites: Sites) -> None:
        """Puts a layer before each activation, or where `at` says."""
        put_normalizations(sites, self.params.at, self._layer)

    def _layer(self, name: str, shape: Shape) -> nn.Module:
        groups = gcd(self.params.groups, shape[1])
        if prod(shape[1:]) == groups:
            raise CompositionError(
                f"groupnorm: what passes {name} has shape {shape}; each of {groups} groups has one number, which minus "
                "its mean is 0.",
                hint=f"Choose fewer groups, for example groupnorm:groups={max(1, groups // 2)}.",
            )
        return nn.GroupNorm(groups, shape[1], eps=self.params.eps)
