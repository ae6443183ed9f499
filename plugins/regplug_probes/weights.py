"""Statistics of weights."""

from __future__ import annotations

import torch
from torch import Tensor

from regplug.probes import Histogram, Probe, ProbeView
from regplug_probes import WeightStatisticsParams
from regplug_probes.layers import finite, histogram, joined


def small_fraction(weights: Tensor, below: float) -> Tensor:
    """Returns the fraction of entries with |w| < below, in [0, 1]: a fraction, not a percentage.

    >>> small_fraction(torch.tensor([0.0, 0.005, -0.02, 1.0]), 0.01)
    tensor(0.5000)
    """
    return (weights.abs() < below).float().mean()


def effective_rank(matrix: Tensor) -> float:
    """Returns exp(-sum_i p_i log p_i) with p_i = s_i / sum_j s_j, where s are the singular values.

    It is n for n equal singular values, 1 for a matrix of rank one, and 0 for a matrix of zeros.

    Args:
        matrix: `(rows, columns)`.

    >>> round(effective_rank(torch.eye(4)), 6)
    4.0

    Source: Roy & Vetterli 2007, definition 1.
    """
    singular = torch.linalg.svdvals(matrix.detach().float() if matrix.dtype.itemsize < 4 else matrix.detach()).double()
    total = singular.sum()
    return float(torch.special.entr(singular / total).sum().exp()) if float(total) > 0 else 0.0


class WeightStatistics(Probe):
    """`weights/norm`, `weights/std` and `weights/small_fraction`: of all weights together, and of each layer.

    The standard deviation divides by n. Biases and normalization layers are left out. The histograms are those of the
    layers' weights.
    """

    def __init__(self, params: WeightStatisticsParams) -> None:
        self.params = params

    def measure(self, view: ProbeView) -> dict[str, float]:
        """Returns the numbers of all layers and of each."""
        parts = {f"/{layer.name}": joined(view.params, layer.weights) for layer in view.layers}
        if not parts:
            return {}
        found: dict[str, float | Tensor] = {}
        for end, weights in {"": torch.cat(list(parts.values())), **parts}.items():
            found[f"weights/norm{end}"] = torch.linalg.vector_norm(weights)
            found[f"weights/std{end}"] = weights.std(correction=0)
            found[f"weights/small_fraction{end}"] = small_fraction(weights, self.params.below)
        return finite(found)

    def histograms(self, view: ProbeView) -> dict[str, Histogram]:
        """Returns that of each layer's weights."""
        return {f"weights/{layer.name}": histogram(joined(view.params, layer.weights)) for layer in view.layers}


class EffectiveRank(Probe):
    """`rank/effective/LAYER`, and `rank/effective_fraction`: the mean over layers of rank over largest possible rank.

    A convolution's weight is the matrix (output channels, input channels * positions).
    """

    def measure(self, view: ProbeView) -> dict[str, float]:
        """Returns the mean fraction and the rank of each layer."""
        found: dict[str, float] = {}
        fractions = []
        for layer in view.layers:
            for name in layer.weights:
                matrix = view.params[name].flatten(1)
                end = "" if len(layer.weights) == 1 else f".{name.rpartition('.')[2]}"
                found[f"rank/effective/{layer.name}{end}"] = rank = effective_rank(matrix)
                fractions.append(rank / min(matrix.shape))
        mean = {"rank/effective_fraction": sum(fractions) / len(fractions)} if fractions else {}
        return finite(mean | found)
