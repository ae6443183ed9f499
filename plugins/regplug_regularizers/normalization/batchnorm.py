"""Batch normalization, torch's own layer."""

from __future__ import annotations

from typing import final

from torch import nn

from regplug.errors import CompositionError
from regplug.regularizer import RegularizerFunctions
from regplug.sites import Site, Sites

_LAYERS: dict[int, type[nn.modules.batchnorm._BatchNorm]] = {
    2: nn.BatchNorm1d,
    3: nn.BatchNorm1d,
    4: nn.BatchNorm2d,
    5: nn.BatchNorm3d,
}


@final
class BatchNorm(RegularizerFunctions):
    """Puts a batch normalization before each activation, or behind the modules that `at` names.

    In training `y = (x - mean) / sqrt(var + eps) * weight + bias` with the batch's mean and *biased* variance for each
    channel; the running variance averages the *unbiased* one. In evaluation the running statistics take their place.
    Source: Ioffe and Szegedy 2015, as torch's nn.BatchNorm.
    """

    def restructure(self, model: nn.Module, sites: Sites) -> None:
        """Puts the layers in."""
        at = self.params.at
        if at:
            for site in sites.matching((at,) if isinstance(at, str) else at):
                sites.after(site, self._layer(site, site.output_shape))
        else:
            for site in sites.chosen((), Sites.activations):
                sites.before(site, self._layer(site, site.input_shape))

    def _layer(self, site: Site, shape: tuple[int, ...]) -> nn.Module:
        if len(shape) not in _LAYERS:
            raise CompositionError(
                f"batchnorm: what passes {site.name} has shape {shape} and no channel axis.",
                hint="Name modules with at= whose output is (batch, channels, ...).",
            )
        return _LAYERS[len(shape)](shape[1], eps=self.params.eps, momentum=self.params.momentum)
