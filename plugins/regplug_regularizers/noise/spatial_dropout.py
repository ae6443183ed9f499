"""Spatial dropout: whole feature maps are dropped."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import Any, final

from torch import Tensor, nn

from regplug.errors import CompositionError
from regplug.noise import Draw, bits
from regplug.regularizer import Notice, RegularizerFunctions, RunContext, Shapes, Step
from regplug.sites import Site, SiteLayer, Sites
from regplug_regularizers.noise.dropout import dropout
from regplug_regularizers.noise.places import at_place, doubt_before_batch_norm, require_one_each

_IN_TORCH: Mapping[int, type[nn.Module]] = {3: nn.Dropout1d, 4: nn.Dropout2d, 5: nn.Dropout3d}


@final
class SpatialDropoutLayer(SiteLayer):
    """Drops channels of `(B, C, ...)`: each is 0 with chance p, else `x / (1 - p)`.

    Args:
        ndim: Axes of what passes here.
    """

    def __init__(self, ndim: int) -> None:
        super().__init__()
        self.ndim = ndim

    def act(self, step: Step, noise: Any, x: Tensor) -> Tensor:
        """See `dropout`, with one mask entry for each row and channel."""
        return dropout(x, noise, at_place(step.settings["drop_probability"], self.index))

    def in_inference(self, params: Any) -> nn.Module | None:
        """The same as torch has it, of images and sequences."""
        rates, kind = params.drop_probability, _IN_TORCH.get(self.ndim)
        return None if kind is None else kind(rates[self.index] if isinstance(rates, tuple) else rates)


def _maps(sites: Sites) -> list[Site]:
    return [site for site in sites.activations() if len(site.output_shape) > 2]


@final
class SpatialDropout(RegularizerFunctions):
    """Puts spatial dropout behind each activation of feature maps, or where `at` says; evaluation is the identity.

    Source: Tompson et al. 2015, section 3.2; as torch's nn.Dropout2d.
    """

    def check(self, context: RunContext) -> Iterator[Notice]:
        """Doubts a dropout before a batch normalization."""
        yield from doubt_before_batch_norm(context, "spatial_dropout")

    def restructure(self, model: nn.Module, sites: Sites) -> None:
        """Puts the layers in."""
        chosen = sites.chosen(self.params.at, _maps)
        require_one_each(sites, "drop_probability", self.params.drop_probability, chosen)
        for site in chosen:
            if len(site.output_shape) < 3:
                raise CompositionError(
                    f"{sites.owner}: {site.name} returns {site.output_shape}, which has no feature maps to drop.",
                    hint="Name modules with at= whose output is (batch, channels, ...), or take dropout.",
                )
            sites.after(site, SpatialDropoutLayer(len(site.output_shape)))

    def noise(self, shapes: Shapes, settings: Mapping[str, Any]) -> Mapping[str, Draw]:
        """One number for each row and channel."""
        return {p.key: bits((*p.shape[:2], *[1] * (len(p.shape) - 2))) for p in shapes.places}
