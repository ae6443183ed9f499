"""Several trained networks as one model.

Shape letters: M members, B rows, K outputs.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from regplug.api import TaskKind
from regplug.data.units import LEARNED, UNITS

MEMBERS = "members"
"""Under this name an ensemble holds its networks."""


def combined(outputs_MBK: Sequence[Tensor], kind: TaskKind) -> Tensor:
    """Returns the outputs of an ensemble, `(B, K)`.

    Of classes the logarithm of the members' mean probabilities, `log(1/M * sum_m softmax(logits_m))`, whose softmax is
    that mean again; of labels the logit of the mean of `sigmoid(logits_m)`; of values their mean.

    Args:
        outputs_MBK: Logits or values of each member.
        kind: The task.

    Source: Lakshminarayanan et al. 2017, Simple and Scalable Predictive Uncertainty Estimation.
    """
    stacked = torch.stack(list(outputs_MBK))
    if kind == "regression":
        return stacked.mean(0)
    if kind == "multilabel":
        # logit(mean(p)) = log(sum(p)) - log(sum(1 - p)), from logarithms, which do not round to 0.
        return F.logsigmoid(stacked).logsumexp(0) - F.logsigmoid(-stacked).logsumexp(0)
    # The number of members from the list: a tracer takes the length of a tensor for one that may change.
    return stacked.log_softmax(-1).logsumexp(0) - math.log(len(outputs_MBK))


class Ensemble(nn.Module):
    """Networks of one kind whose outputs are combined; see `combined`.

    Args:
        members: The networks.
        kind: The task that they were trained on.
    """

    def __init__(self, members: Sequence[nn.Module], kind: TaskKind) -> None:
        super().__init__()
        self.members = nn.ModuleList(members)
        self.kind = kind

    def forward(self, x: Tensor) -> Tensor:
        """Logits or values `(B, K)`."""
        return combined([member(x) for member in self.members], self.kind)


def as_one(make: Callable[[], nn.Module], members: int, kind: TaskKind) -> nn.Module:
    """Returns a network, or an ensemble of as many.

    Args:
        make: Makes one network.
        members: How many.
        kind: The task.
    """
    if members == 1:
        return make()
    return Ensemble([make() for _ in range(members)], kind)


def count_members(names: Sequence[str]) -> int:
    """Returns how many networks a saved state holds: 1 for a network by itself.

    Args:
        names: Names of the saved tensors.
    """
    if f"{UNITS}.scale" in names:
        names = [name.removeprefix(f"{LEARNED}.") for name in names]
    numbers = {int(parts[1]) for name in names if (parts := name.split("."))[0] == MEMBERS and parts[1].isdigit()}
    return len(numbers) or 1
