"""Several trained networks as one model.

Shape letters: M members, B rows, K outputs.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence

import torch
from torch import Tensor, nn

from regplug.data.units import LEARNED, UNITS

MEMBERS = "members"
"""Under this name an ensemble holds its networks."""


def combined(outputs_MBK: Sequence[Tensor], *, is_classification: bool) -> Tensor:
    """Returns the outputs of an ensemble, `(B, K)`.

    Of classes the logarithm of the members' mean probabilities, `log(1/M * sum_m softmax(logits_m))`, whose softmax is
    that mean again; of values their mean.

    Args:
        outputs_MBK: Logits or values of each member.
        is_classification: Whether they are logits.

    Source: Lakshminarayanan et al. 2017, Simple and Scalable Predictive Uncertainty Estimation.
    """
    stacked = torch.stack(list(outputs_MBK))
    if not is_classification:
        return stacked.mean(0)
    # The number of members from the list: a tracer takes the length of a tensor for one that may change.
    return stacked.log_softmax(-1).logsumexp(0) - math.log(len(outputs_MBK))


class Ensemble(nn.Module):
    """Networks of one kind whose outputs are combined; see `combined`.

    Args:
        members: The networks.
        is_classification: Whether they return logits.
    """

    def __init__(self, members: Sequence[nn.Module], *, is_classification: bool) -> None:
        super().__init__()
        self.members = nn.ModuleList(members)
        self.is_classification = is_classification

    def forward(self, x: Tensor) -> Tensor:
        """Logits or values `(B, K)`."""
        return combined([member(x) for member in self.members], is_classification=self.is_classification)


def as_one(make: Callable[[], nn.Module], members: int, *, is_classification: bool) -> nn.Module:
    """Returns a network, or an ensemble of as many.

    Args:
        make: Makes one network.
        members: How many.
        is_classification: Whether they return logits.
    """
    if members == 1:
        return make()
    return Ensemble([make() for _ in range(members)], is_classification=is_classification)


def count_members(names: Sequence[str]) -> int:
    """Returns how many networks a saved state holds: 1 for a network by itself.

    Args:
        names: Names of the saved tensors.
    """
    if f"{UNITS}.scale" in names:
        names = [name.removeprefix(f"{LEARNED}.") for name in names]
    numbers = {int(parts[1]) for name in names if (parts := name.split("."))[0] == MEMBERS and parts[1].isdigit()}
    return len(numbers) or 1
