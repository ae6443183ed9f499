"""Dropout as a textbook writes it, for study: a mask of uniform numbers, and nothing of torch's."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import Any, final

from torch import Tensor, nn

from regplug.noise import Draw, uniform
from regplug.regularizer import Notice, RegularizerFunctions, RunContext, Shapes, Step
from regplug.sites import SiteLayer, Sites
from regplug_regularizers.noise.places import at_place, doubt_before_batch_norm, require_one_each


def dropout_layer(x: Tensor, uniform_numbers: Tensor, drop_probability: Tensor) -> Tensor:
    """`mask * x / (1 - p)` with `mask = (u >= p)`.

    Args:
        x: Any shape, floating.
        uniform_numbers: Uniform on [0, 1), of the shape of `x`.
        drop_probability: Scalar p in [0, 1).

    Returns:
        A tensor of the shape of `x` whose mean over `u` is `x`.

    Source: Zhang et al. 2023, Dive into Deep Learning, section 5.6. There the mask is `u > p`; `>=` keeps all at p = 0.
    """
    mask = (uniform_numbers >= drop_probability).to(x.dtype)
    return mask * x / (1.0 - drop_probability)


@final
class DropoutScratchLayer(SiteLayer):
    """The textbook's dropout at one place."""

    def act(self, step: Step, noise: Any, x: Tensor) -> Tensor:
        """See `dropout_layer`."""
        return dropout_layer(x, noise, at_place(step.settings["drop_probability"], self.index))


@final
class DropoutScratch(RegularizerFunctions):
    """Puts the textbook's dropout behind each activation, or where `at` says; evaluation is the identity."""

    def check(self, context: RunContext) -> Iterator[Notice]:
        """Doubts a dropout before a batch normalization."""
        yield from doubt_before_batch_norm(context, "dropout_scratch")

    def restructure(self, model: nn.Module, sites: Sites) -> None:
        """Puts the layers in."""
        chosen = sites.chosen(self.params.at, Sites.activations)
        require_one_each(sites, "drop_probability", self.params.drop_probability, chosen)
        for site in chosen:
            sites.after(site, DropoutScratchLayer())

    def noise(self, shapes: Shapes, settings: Mapping[str, Any]) -> Mapping[str, Draw]:
        """One uniform number for each entry."""
        return {place.key: uniform(place.shape) for place in shapes.places}
