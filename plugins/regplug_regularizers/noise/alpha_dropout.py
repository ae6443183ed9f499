"""Alpha dropout: for networks of SELU, whose activations keep mean 0 and variance 1."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import Any, final

import torch
from torch import Tensor, nn

from regplug.noise import Draw, bits, keep_mask
from regplug.regularizer import Notice, RegularizerFunctions, RunContext, Shapes, Step
from regplug.sites import SiteLayer, Sites
from regplug_regularizers.noise.places import at_place, require_one_each

SATURATION = -1.7580993408473766
"""What SELU tends to at minus infinity: `-scale * alpha`."""


def alpha_dropout(x: Tensor, random_bits: Tensor, drop_probability: Tensor) -> Tensor:
    """Each entry is set to SELU's saturation s with chance p; then all are shifted and scaled.

    `y = a * (x * mask + s * (1 - mask)) + b` with `a = ((1 - p) * (1 + p * s^2))^(-1/2)` and `b = -a * p * s`: entries
    of mean 0 and variance 1 keep both.

    Args:
        x: Any shape, floating.
        random_bits: int16, uniform, of the shape of `x`.
        drop_probability: Scalar p in [0, 1); rounded to a multiple of 2^-16.

    Returns:
        A tensor of the shape of `x`.

    Source: Klambauer et al. 2017, Self-Normalizing Neural Networks; as torch's nn.AlphaDropout.
    """
    mask, scale = keep_mask(random_bits, drop_probability)
    kept, keep_probability = mask.to(x.dtype), 1.0 / scale.to(x.dtype)
    dropped = 1.0 - keep_probability
    a = torch.rsqrt(keep_probability * (1.0 + dropped * SATURATION**2))
    return a * (x * kept + SATURATION * (1.0 - kept)) - a * dropped * SATURATION


@final
class AlphaDropoutLayer(SiteLayer):
    """Alpha dropout at one place."""

    def act(self, step: Step, noise: Any, x: Tensor) -> Tensor:
        """See `alpha_dropout`."""
        return alpha_dropout(x, noise, at_place(step.settings["drop_probability"], self.index))

    def in_inference(self, params: Any) -> nn.Module:
        """The same as torch has it."""
        rates = params.drop_probability
        return nn.AlphaDropout(rates[self.index] if isinstance(rates, tuple) else rates)


@final
class AlphaDropout(RegularizerFunctions):
    """Puts alpha dropout behind each activation, or where `at` says."""

    def __init__(self, params: Any = None) -> None:
        super().__init__(params)
        self._others: list[str] = []

    def check(self, context: RunContext) -> Iterator[Notice]:
        """Refuses activations other than SELU: the shift is computed from SELU's saturation."""
        if self._others and context.activation != "selu":
            yield Notice(
                "refuse",
                f"alpha_dropout keeps mean and variance behind SELU only, and {self._others[0]} is no nn.SELU.",
                "Choose --activation selu, or take dropout. Name places behind SELU with at=.",
            )

    def restructure(self, model: nn.Module, sites: Sites) -> None:
        """Puts the layers in."""
        chosen = sites.chosen(self.params.at, Sites.activations)
        require_one_each(sites, "drop_probability", self.params.drop_probability, chosen)
        self._others = [site.name for site in chosen if site.is_activation and not isinstance(site.module, nn.SELU)]
        for site in chosen:
            sites.after(site, AlphaDropoutLayer())

    def noise(self, shapes: Shapes, settings: Mapping[str, Any]) -> Mapping[str, Draw]:
        """One mask for each place."""
        return {place.key: bits(place.shape) for place in shapes.places}
