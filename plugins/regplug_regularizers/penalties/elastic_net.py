"""The elastic net."""

from __future__ import annotations

from collections.abc import Iterator
from typing import final

from torch import Tensor

from regplug.regularizer import Notice, Outputs, RegularizerFunctions, RunContext, Step, Tensors
from regplug_regularizers.penalties.places import check_places, chosen_weights, total


def elastic_net(weight: Tensor, l1_share: Tensor) -> Tensor:
    """Returns `l1_share * sum |w| + (1 - l1_share) / 2 * sum w^2`, a scalar.

    Args:
        weight: Of any shape.
        l1_share: Scalar in [0, 1]: 1 is the lasso, 0 is ridge regression.

    Source: Zou and Hastie 2005, with the factors of scikit-learn's ElasticNet.
    """
    return l1_share * weight.abs().sum() + (1 - l1_share) / 2 * weight.square().sum()


@final
class ElasticNet(RegularizerFunctions):
    """Adds `strength` times `elastic_net` of each weight to the loss."""

    def check(self, context: RunContext) -> Iterator[Notice]:
        """Refuses places that are not there."""
        yield from check_places(context, "elastic_net", self.params)

    def penalty(self, step: Step, weights: Tensors, outputs: Outputs) -> Tensor | None:
        """The penalty, a scalar."""
        share = step.settings["l1_share"]
        chosen = chosen_weights(step, weights, self.params)
        return total(step.settings["strength"], chosen, lambda weight: elastic_net(weight, share))
