"""Dropout, inverted: what is kept is scaled up in training, and evaluation is the identity."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import Any, final

from torch import Tensor, nn

from regplug.noise import Draw, bits, keep_mask
from regplug.regularizer import Notice, RegularizerFunctions, RunContext, Shapes, Step
from regplug.sites import SiteLayer, Sites
from regplug_regularizers.noise.places import at_place, doubt_before_batch_norm, require_one_each


def dropout(x: Tensor, random_bits: Tensor, drop_probability: Tensor) -> Tensor:
    """Each entry is 0 with chance p, else x / (1 - p).

    Args:
        x: Any shape, floating.
        random_bits: int16, uniform, of the shape of `x`.
        drop_probability: Scalar in [0, 1); rounded to a multiple of 2^-16.

    Returns:
        A tensor of the shape of `x` whose mean over the bits is `x`. NaN stays NaN.

    Source: Srivastava et al. 2014, in the inverted form of torch's nn.Dropout.
    """
    mask, scale = keep_mask(random_bits, drop_probability)
    return x * (mask * scale.to(x.dtype))


@final
class DropoutLayer(SiteLayer):
    """Dropout at one place."""

    def act(self, step: Step, noise: Any, x: Tensor) -> Tensor:
        """See `dropout`; takes this place's entry where there is one rate for each."""
        return dropout(x, noise, at_place(step.settings["drop_probability"], self.index))

    def in_inference(self, params: Any) -> nn.Module:
        """The same dropout as torch has it."""
        rates = params.drop_probability
        return nn.Dropout(rates[self.index] if isinstance(rates, tuple) else rates)


@final
class Dropout(RegularizerFunctions):
    """Puts dropout behind each activation, or where `at` says."""

    def check(self, context: RunContext) -> Iterator[Notice]:
        """Doubts a dropout before a batch normalization."""
        yield from doubt_before_batch_norm(context, "dropout")

    def restructure(self, model: nn.Module, sites: Sites) -> None:
        """Puts the layers in."""
        chosen = sites.chosen(self.params.at, Sites.activations)
        require_one_each(sites, "drop_probability", self.params.drop_probability, chosen)
        for site in chosen:
            sites.after(site, DropoutLayer())

    def noise(self, shapes: Shapes, settings: Mapping[str, Any]) -> Mapping[str, Draw]:
        """One mask for each place."""
        return {place.key: bits(place.shape) for place in shapes.places}
