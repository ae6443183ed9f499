"""The elastic net."""

from __future__ import annotations

from collections.abc import Iterable
from typing import final

import torch
from torch import Tensor

from regplug.regularizer import Outputs, RegularizerFunctions, Step, Tensors


def elastic_net(weights: Iterable[Tensor], strength: Tensor, l1_share: Tensor) -> Tensor:
    """Returns `strength * (l1_share * sum |w| + (1 - l1_share) / 2 * sum w^2)`, a scalar.

    Args:
        weights: Tensors of any shape.
        strength: Scalar, at least 0.
        l1_share: Scalar in [0, 1]: 1 is the lasso, 0 is ridge regression.

    Source: Zou and Hastie 2005, with the factors of scikit-learn's ElasticNet.
    """
    values = torch.cat([weight.flatten() for weight in weights])
    return strength * (l1_share * values.abs().sum() + (1 - l1_share) / 2 * values.square().sum())


@final
class ElasticNet(RegularizerFunctions):
    """Adds `elastic_net` of the weights to the loss."""

    def penalty(self, step: Step, weights: Tensors, outputs: Outputs) -> Tensor | None:
        """The penalty, a scalar."""
        chosen = step.select(weights, everything=self.params.everything)
        return elastic_net(chosen.values(), step.settings["strength"], step.settings["l1_share"])
