"""Gaussian noise on weights."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, final

from torch import Tensor, nn

from regplug.noise import Draw, normal
from regplug.regularizer import RegularizerFunctions, Shapes, Step
from regplug.sites import Sites, WeightLayer
from regplug_regularizers.noise.places import at_place, require_one_each, weights_of


@final
class WeightNoiseLayer(WeightLayer):
    """`w + std * N(0, 1)`."""

    def act(self, step: Step, noise: Any, weight: Tensor) -> Tensor:
        """Adds the noise."""
        noisy: Tensor = weight + at_place(step.settings["std"], self.index) * noise
        return noisy


@final
class WeightNoise(RegularizerFunctions):
    """Trains with `w + std * N(0, 1)` in place of each weight, drawn anew at each step; evaluation has `w`.

    Source: Graves 2011, Practical Variational Inference for Neural Networks, section 3 (adaptive noise is left out).
    """

    def restructure(self, model: nn.Module, sites: Sites) -> None:
        """Puts a layer on each weight."""
        chosen = weights_of(sites, self.params.at)
        require_one_each(sites, "std", self.params.std, chosen)
        for site in chosen:
            sites.on_weight(site, WeightNoiseLayer())

    def noise(self, shapes: Shapes, settings: Mapping[str, Any]) -> Mapping[str, Draw]:
        """One number for each entry of each weight."""
        return {place.key: normal(place.shape, per_sample=False) for place in shapes.places}
