"""DropConnect: weights are dropped instead of activations."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, final

from torch import Tensor, nn

from regplug.noise import Draw, bits
from regplug.regularizer import RegularizerFunctions, Shapes, Step
from regplug.sites import Sites, WeightLayer
from regplug_regularizers.noise.dropout import dropout
from regplug_regularizers.noise.places import at_place, require_one_each, weights_of


@final
class DropConnectLayer(WeightLayer):
    """Each entry of a weight is 0 with chance p, else `w / (1 - p)`."""

    def act(self, step: Step, noise: Any, weight: Tensor) -> Tensor:
        """See `dropout`."""
        return dropout(weight, noise, at_place(step.settings["drop_probability"], self.index))


@final
class DropConnect(RegularizerFunctions):
    """Drops entries of each weight, anew at each step and for the whole batch; evaluation has all of them.

    Kept entries are scaled up in training. The paper instead draws a mask for each row and samples in inference from a
    normal distribution with the mean and variance of the dropped sums; their mean is that of the full weights.

    Source: Wan et al. 2013.
    """

    def restructure(self, model: nn.Module, sites: Sites) -> None:
        """Puts a layer on each weight."""
        chosen = weights_of(sites, self.params.at)
        require_one_each(sites, "drop_probability", self.params.drop_probability, chosen)
        for site in chosen:
            sites.on_weight(site, DropConnectLayer())

    def noise(self, shapes: Shapes, settings: Mapping[str, Any]) -> Mapping[str, Draw]:
        """One mask for each weight."""
        return {place.key: bits(place.shape, per_sample=False) for place in shapes.places}
