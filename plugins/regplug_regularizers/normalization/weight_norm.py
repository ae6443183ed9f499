"""Weight normalization, torch's own parametrization."""

from __future__ import annotations

from typing import final

import torch
from torch import Tensor, nn
from torch.nn.utils import parametrizations, parametrize

from regplug.errors import CompositionError
from regplug.regularizer import RegularizerFunctions
from regplug.sites import Sites
from regplug_regularizers.normalization.places import weights_of


class LengthAndDirection(parametrizations._WeightNorm):
    """torch's parametrization, which divides by the length of v.

    A unit whose weights were all set to 0, as pruning does, keeps a direction to divide by; its g is 0.
    """

    def right_inverse(self, weight: Tensor) -> tuple[Tensor, Tensor]:
        """Returns g and v of a weight."""
        g, v = torch.norm_except_dim(weight, 2, self.dim), weight
        return g, torch.where(g == 0, torch.ones_like(v), v)


@final
class WeightNorm(RegularizerFunctions):
    """Trains the length g and the direction v of the weights into each unit: `w = g * v / |v|`.

    They start at the weight as it is. The same in training and in evaluation.
    Source: Salimans and Kingma 2016, Weight Normalization; torch.nn.utils.parametrizations.weight_norm.
    """

    def restructure(self, model: nn.Module, sites: Sites) -> None:
        """Parametrizes each weight, as the first of the layers on it."""
        for site in weights_of(sites, self.params.at):
            module = sites.module_of(site)
            if parametrize.is_parametrized(module, "weight"):
                raise CompositionError(
                    f"weight_norm: the weight of {site.name} is parametrized already, and g and v must come first.",
                    hint="Name other modules with at=, or take the other parametrization out of the model.",
                )
            parametrize.register_parametrization(module, "weight", LengthAndDirection(dim=0), unsafe=True)
