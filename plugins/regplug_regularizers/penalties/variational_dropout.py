"""Variational dropout that sparsifies: a learned variance for each weight."""

from __future__ import annotations

import re
from collections.abc import Iterable, Iterator, Mapping
from typing import Any, final

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from regplug.noise import Draw, normal
from regplug.regularizer import Member, Outputs, RegularizerFunctions, Shapes, Step, Tensors
from regplug.sites import Sites, WeightLayer
from regplug_regularizers.penalties.places import effective_weight

K1, K2, K3 = 0.63576, 1.87320, 1.48695
"""The constants of the paper's approximation."""

START = -10.0
"""Logarithm of the variances at the start, as in the authors' code."""

_NAME = re.compile(r"(?P<module>.*?)parametrizations\.(?P<weight>\w+)\.\d+\.log_variance")
_EPS = 1e-8


def log_alpha(weight: Tensor, log_variance: Tensor) -> Tensor:
    """Returns `log(sigma^2 / w^2)`, kept within -8 and 8 as in the authors' code."""
    return (log_variance - (weight.square() + _EPS).log()).clamp(-8, 8)


def divergence(log_alpha: Tensor) -> Tensor:
    """Returns the divergence from the log-uniform prior, summed over weights, approximated; a scalar.

    `k1 - k1 * sigmoid(k2 + k3 log alpha) + log(1 + 1 / alpha) / 2` for each weight, within 0.01 of the truth.

    Source: Molchanov, Ashukha and Vetrov 2017, equation 14.
    """
    value: Tensor = (K1 - K1 * torch.sigmoid(K2 + K3 * log_alpha) + 0.5 * F.softplus(-log_alpha)).sum()
    return value


@final
class VariationalWeight(WeightLayer):
    """Noise of a learned variance on each entry of a weight.

    Args:
        weight: The weight.
    """

    def __init__(self, weight: Tensor) -> None:
        super().__init__()
        self.log_variance = nn.Parameter(torch.full_like(weight, START))

    def act(self, step: Step, noise: Any, weight: Tensor) -> Tensor:
        """`w + sigma * N(0, 1)`, drawn at each step for the whole batch."""
        moved: Tensor = weight + (self.log_variance / 2).exp() * noise
        return moved


@final
class VariationalDropout(RegularizerFunctions):
    """Adds `strength / N` times the divergence of the weights' posterior from the log-uniform prior.

    N is the number of training rows, so that a strength of 1 is the evidence lower bound. The weights of which log
    alpha exceeds `threshold` are 0 in evaluation. The paper draws pre-activations, one for each row. Here weights are
    drawn: the mean and the variance in each row are the same, but all rows of a batch share one draw, so the gradient
    varies more.

    Source: Molchanov, Ashukha and Vetrov 2017.
    """

    def restructure(self, model: nn.Module, sites: Sites) -> None:
        """Puts noise on the weights."""
        for site in sites.chosen(self.params.at, Sites.weighted):
            if site.call == 0:
                sites.on_weight(site, VariationalWeight(effective_weight(site)))

    def noise(self, shapes: Shapes, settings: Mapping[str, Any]) -> Mapping[str, Draw]:
        """Normal numbers for each weight."""
        return {place.key: normal(place.shape, per_sample=False) for place in shapes.places}

    def init(self, shapes: Shapes, params: Tensors, buffers: Tensors) -> dict[str, Tensor]:
        """The number of training rows."""
        return {"rows": next(iter(params.values())).new_tensor(shapes.rows)}

    def penalty(self, step: Step, weights: Tensors, outputs: Outputs) -> Tensor | None:
        """The penalty, a scalar."""
        each = [divergence(log_alpha(weights[f"{m}{w}"], weights[name])) for name, m, w in _named(weights)]
        strength: Tensor = step.settings["strength"]
        return strength / step.state["rows"] * torch.stack(each).sum()

    def evaluated(self, step: Step, params: Tensors, buffers: Tensors) -> Member:
        """The weights without those that are mostly noise."""
        return self._pruned(step, params), buffers

    def finalize(self, step: Step, params: Tensors, buffers: Tensors, batches: Iterable[Step]) -> Member:
        """The same."""
        return self._pruned(step, params), buffers

    def _pruned(self, step: Step, params: Tensors) -> dict[str, Tensor]:
        pruned = dict(params)
        for name, module, weight in _named(params):
            original = f"{module}parametrizations.{weight}.original"
            if original not in params:  # another parametrization computes the weight from several tensors
                continue
            is_kept = log_alpha(params[original], params[name]) <= step.settings["threshold"]
            pruned[original] = params[original] * is_kept
        return pruned


def _named(tensors: Tensors) -> Iterator[tuple[str, str, str]]:
    """The name of each variance, what its weight's name begins with, and the weight's own name."""
    for name in tensors:
        if found := _NAME.fullmatch(name):
            yield name, found["module"], found["weight"]
