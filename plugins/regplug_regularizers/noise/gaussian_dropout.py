"""Gaussian dropout: multiplicative noise with the mean and the variance of dropout."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import Any, final

from torch import Tensor, nn

from regplug.noise import Draw, normal
from regplug.regularizer import Notice, RegularizerFunctions, RunContext, Shapes, Step
from regplug.sites import SiteLayer, Sites
from regplug_regularizers.noise.places import at_place, doubt_before_batch_norm, require_one_each


def gaussian_dropout(x: Tensor, normal_numbers: Tensor, drop_probability: Tensor) -> Tensor:
    """`x * (1 + sqrt(p / (1 - p)) * N(0, 1))`.

    Args:
        x: Any shape, floating.
        normal_numbers: Standard normal, of the shape of `x`.
        drop_probability: Scalar p in [0, 1): the noise has the variance of dropout at this rate.

    Returns:
        A tensor of the shape of `x` whose mean over the noise is `x`.

    Source: Srivastava et al. 2014, Dropout, section 10.
    """
    return x * (1.0 + (drop_probability / (1.0 - drop_probability)).sqrt() * normal_numbers)


@final
class GaussianDropoutLayer(SiteLayer):
    """Gaussian dropout at one place."""

    def act(self, step: Step, noise: Any, x: Tensor) -> Tensor:
        """See `gaussian_dropout`."""
        return gaussian_dropout(x, noise, at_place(step.settings["drop_probability"], self.index))


@final
class GaussianDropout(RegularizerFunctions):
    """Puts Gaussian dropout behind each activation, or where `at` says; evaluation is the identity."""

    def check(self, context: RunContext) -> Iterator[Notice]:
        """Doubts noise before a batch normalization."""
        yield from doubt_before_batch_norm(context, "gaussian_dropout")

    def restructure(self, model: nn.Module, sites: Sites) -> None:
        """Puts the layers in."""
        chosen = sites.chosen(self.params.at, Sites.activations)
        require_one_each(sites, "drop_probability", self.params.drop_probability, chosen)
        for site in chosen:
            sites.after(site, GaussianDropoutLayer())

    def noise(self, shapes: Shapes, settings: Mapping[str, Any]) -> Mapping[str, Draw]:
        """One number for each entry."""
        return {place.key: normal(place.shape) for place in shapes.places}
