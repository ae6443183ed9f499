"""L0 regularization with hard concrete gates."""

from __future__ import annotations

import math
from collections.abc import Mapping
from typing import Any, final

import torch
from torch import Tensor, nn

from regplug.noise import Draw, uniform
from regplug.regularizer import Outputs, RegularizerFunctions, Shapes, Step, Tensors
from regplug.sites import Sites, WeightLayer
from regplug_regularizers.penalties.places import effective_weight

TEMPERATURE, LOW, HIGH = 2 / 3, -0.1, 1.1
"""Beta, gamma and zeta of the paper's experiments."""

_EPS = 1e-6


def hard_concrete(u: Tensor, gate_logit: Tensor) -> Tensor:
    """Returns gates in [0, 1]: exactly 0 and exactly 1 have chances of their own. Source: Louizos 2018, eq. 10 and 11.

    Args:
        u: Uniform on [0, 1).
        gate_logit: The logarithm of alpha, of the same shape.
    """
    u = u.clamp(_EPS, 1 - _EPS)
    s = torch.sigmoid((u.log() - (1 - u).log() + gate_logit) / TEMPERATURE)
    return (s * (HIGH - LOW) + LOW).clamp(0, 1)


def expected_count(gate_logit: Tensor) -> Tensor:
    """Returns how many gates are expected not to be 0, a scalar. Source: Louizos 2018, equation 12."""
    return torch.sigmoid(gate_logit - TEMPERATURE * math.log(-LOW / HIGH)).sum()


def final_gate(gate_logit: Tensor) -> Tensor:
    """Returns the gates of evaluation. Source: Louizos 2018, equation 13."""
    return (torch.sigmoid(gate_logit) * (HIGH - LOW) + LOW).clamp(0, 1)


@final
class GatedWeight(WeightLayer):
    """A gate on each entry of a weight.

    Args:
        weight: The weight.
        drop_probability: Chance of the concrete distribution's lower half at the start.
    """

    def __init__(self, weight: Tensor, drop_probability: float) -> None:
        super().__init__()
        start = math.log(1 - drop_probability) - math.log(drop_probability)
        self.gate_logit = nn.Parameter(torch.full_like(weight, start))

    def act(self, step: Step, noise: Any, weight: Tensor) -> Tensor:
        """The weight times gates that are drawn at each step."""
        return weight * hard_concrete(noise, self.gate_logit)

    def evaluate(self, settings: Mapping[str, Tensor], weight: Tensor) -> Tensor:
        """The weight times its final gates."""
        return weight * final_gate(self.gate_logit)


@final
class L0(RegularizerFunctions):
    """Adds `strength` times the expected number of weights that are not 0, and learns the gates that decide it.

    The gates are drawn at each step, and all rows of a batch share them.

    Source: Louizos, Welling and Kingma 2018.
    """

    def restructure(self, model: nn.Module, sites: Sites) -> None:
        """Puts gates on the weights."""
        for site in sites.chosen(self.params.at, Sites.weighted):
            if site.call == 0:
                sites.on_weight(site, GatedWeight(effective_weight(site), self.params.drop_probability))

    def noise(self, shapes: Shapes, settings: Mapping[str, Any]) -> Mapping[str, Draw]:
        """Uniform numbers for each weight."""
        return {place.key: uniform(place.shape, per_sample=False) for place in shapes.places}

    def penalty(self, step: Step, weights: Tensors, outputs: Outputs) -> Tensor | None:
        """The penalty, a scalar."""
        counts = [expected_count(value) for name, value in weights.items() if name.endswith(".gate_logit")]
        strength: Tensor = step.settings["strength"]
        return strength * torch.stack(counts).sum()
