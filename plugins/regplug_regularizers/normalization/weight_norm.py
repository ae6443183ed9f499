"""Weight normalization, torch's own parametrization."""

from __future__ import annotations

from typing import final

from torch import nn
from torch.nn.utils import parametrizations, parametrize

from regplug.errors import CompositionError
from regplug.regularizer import RegularizerFunctions
from regplug.sites import Sites
from regplug_regularizers.normalization.places import weights_of


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
            parametrizations.weight_norm(module, "weight")
