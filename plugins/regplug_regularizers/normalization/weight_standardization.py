"""Weight standardization: the weights into each unit have mean 0 and variance 1."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, final

from torch import Tensor, nn

from regplug.errors import CompositionError
from regplug.regularizer import RegularizerFunctions, Step
from regplug.sites import Site, Sites, WeightLayer
from regplug_regularizers.normalization.places import weights_of


def standardized(weight: Tensor, eps: float) -> Tensor:
    """`(w - mean) / sqrt(var + eps)` with the mean and the biased variance of the weights into each unit.

    Args:
        weight: `(units, ...)`.
        eps: Added to the variance.

    Returns:
        A tensor of the shape of `weight`.

    Source: Qiao et al. 2019, Micro-Batch Training with Batch-Channel Normalization and Weight Standardization, eq. 9.
    """
    rows = weight.flatten(1)
    centred = rows - rows.mean(1, keepdim=True)
    return (centred / (centred.square().mean(1, keepdim=True) + eps).sqrt()).view_as(weight)


@final
class StandardizedLayer(WeightLayer):
    """Standardizes a weight, in training and in evaluation.

    Args:
        eps: Added to the variance.
    """

    def __init__(self, eps: float) -> None:
        super().__init__()
        self.eps = eps

    def act(self, step: Step, noise: Any, weight: Tensor) -> Tensor:
        """See `standardized`."""
        return standardized(weight, self.eps)

    def evaluate(self, settings: Mapping[str, Tensor], weight: Tensor) -> Tensor:
        """See `standardized`."""
        return standardized(weight, self.eps)


def _all_but_the_last(sites: Sites) -> list[Site]:
    return sites.weighted()[:-1]


@final
class WeightStandardization(RegularizerFunctions):
    """Standardizes each weight but the last layer's, whose size the logits need."""

    def restructure(self, model: nn.Module, sites: Sites) -> None:
        """Puts a layer on each weight."""
        chosen = weights_of(sites, self.params.at) if self.params.at else sites.chosen((), _all_but_the_last)
        for site in chosen:
            weight = sites.module_of(site).weight
            if weight[0].numel() == 1:  # type: ignore[index] # a tensor
                raise CompositionError(
                    f"{sites.owner}: each unit of {site.name} has one weight, which minus its mean is 0.",
                    hint="Name other modules with at=.",
                )
            sites.on_weight(site, StandardizedLayer(self.params.eps))
