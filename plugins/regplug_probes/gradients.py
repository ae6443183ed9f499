"""Sizes of gradients and updates, and the noise of gradients.

Shape letters: P parameters.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import NamedTuple

import torch
from torch import Tensor

from regplug.api import NoParams
from regplug.probes import Layer, Probe, ProbeView
from regplug_probes import GradientsParams, NoiseScaleParams
from regplug_probes.layers import finite, joined

LEAST_HIDDEN = 2
"""Layers that a ratio of the first hidden layer over the last one needs."""


class GradientSizes(Probe):
    """Sizes of the gradient in training mode, of each layer in the order of the forward pass.

    `gradient/mean_abs/LAYER` is mean |g|, `gradient/std/LAYER` is sqrt(mean (g - mean g)^2), which divides by n, and
    `gradient/norm/LAYER` is sqrt(sum g^2). `gradient/norm` is that of all layers together. `gradient/ratio` is mean |g|
    of the first layer over that of the last hidden one: all layers but the last, the output, count as hidden. It is
    left out with fewer than two hidden layers, or if the last one has no gradient.
    """

    def __init__(self, params: GradientsParams) -> None:
        self.params = params

    def measure(self, view: ProbeView) -> dict[str, float]:
        """Returns the norm, the ratio and the sizes of each layer."""
        grads = view.loss_gradients if self.params.of == "loss" else view.objective_gradients
        parts = {layer.name: joined(grads, self._names(layer)) for layer in view.layers}
        if not parts:
            return {}
        sizes = {name: part.abs().mean() for name, part in parts.items()}
        norms = {name: torch.linalg.vector_norm(part) for name, part in parts.items()}
        found: dict[str, float | Tensor] = {"gradient/norm": torch.linalg.vector_norm(torch.stack([*norms.values()]))}
        *hidden, _ = sizes.values()
        if len(hidden) >= LEAST_HIDDEN:
            found["gradient/ratio"] = hidden[0].double() / hidden[-1].double()
        found |= {f"gradient/mean_abs/{name}": size for name, size in sizes.items()}
        found |= {f"gradient/std/{name}": part.std(correction=0) for name, part in parts.items()}
        found |= {f"gradient/norm/{name}": norm for name, norm in norms.items()}
        return finite(found)

    def _names(self, layer: Layer) -> tuple[str, ...]:
        return (*layer.trained, *layer.biases) if self.params.biases else layer.trained


class UpdateRatio(Probe):
    """`update/ratio` and `update/ratio/LAYER`: ||w_t - w_(t-1)|| / ||w_t||, of the last step and of weights only.

    It has no value before the first step.
    """

    def __init__(self, params: NoParams) -> None:
        self.params = params

    def measure(self, view: ProbeView) -> dict[str, float]:
        """Returns the ratio of all weights together and of each layer."""
        if not view.last_update:
            return {}
        updates = {each.name: torch.linalg.vector_norm(joined(view.last_update, each.trained)) for each in view.layers}
        norms = {each.name: torch.linalg.vector_norm(joined(view.trained_params, each.trained)) for each in view.layers}
        total, size = (torch.linalg.vector_norm(torch.stack([*of.values()])) for of in (updates, norms))
        return finite({"update/ratio": total / size, **{f"update/ratio/{n}": updates[n] / norms[n] for n in norms}})


class NoiseEstimate(NamedTuple):
    """An unbiased estimate of the noise of a gradient.

    Args:
        trace: Trace of the covariance of one row's gradient.
        squared_mean: |G|^2, where G is the mean gradient; the estimate may be negative.
        scale: `trace / squared_mean`; NaN if that is not positive.
    """

    trace: float
    squared_mean: float
    scale: float


def noise_estimate(squared_norms: Sequence[float], squared_norm_of_mean: float, rows: int) -> NoiseEstimate:
    """Returns the simple noise scale tr(Sigma) / |G|^2 from the gradients g_k of n parts of b rows each.

    With m the mean of the g_k, s^2 = (sum_k |g_k|^2 - n |m|^2) / (n - 1) estimates tr(Sigma) / b, and |m|^2 - s^2 / n
    estimates |G|^2; both are unbiased. They are equations A.2 of the source for batches of b and of n * b rows.

    Args:
        squared_norms: |g_k|^2 `(n,)`, two at least.
        squared_norm_of_mean: |m|^2.
        rows: b.

    Source: McCandlish et al. 2018, An Empirical Model of Large-Batch Training, section 2.2 and appendix A.1.
    """
    parts = len(squared_norms)
    spread = max(0.0, sum(squared_norms) - parts * squared_norm_of_mean) / (parts - 1)
    trace, squared_mean = rows * spread, squared_norm_of_mean - spread / parts
    return NoiseEstimate(trace, squared_mean, trace / squared_mean if squared_mean > 0 else float("nan"))


class NoiseScale(Probe):
    """`noise_scale/simple`, `noise_scale/trace` and `noise_scale/squared_mean`: see `noise_estimate`.

    The gradients are those of the data loss in evaluation mode, so dropout does not count as noise. The scale is left
    out if the sample is too noisy to tell the mean gradient from zero.
    """

    def __init__(self, params: NoiseScaleParams) -> None:
        self.params = params

    def measure(self, view: ProbeView) -> dict[str, float]:
        """Returns the scale and its two parts."""
        count = len(view.sample.rows)
        parts = min(self.params.parts, count)
        if parts < 2:
            return {}
        rows = count // parts
        values = {name: value.detach().clone().requires_grad_() for name, value in view.trained_params.items()}
        squared_norms, mean_P = [], torch.zeros(())
        for start in range(0, parts * rows, rows):
            loss = view.loss_at(values, slice(start, start + rows))
            grads = torch.autograd.grad(loss, list(values.values()), materialize_grads=True)
            grad_P = torch.cat([grad.flatten() for grad in grads]).double()
            squared_norms.append(float(grad_P @ grad_P))
            mean_P = mean_P.to(grad_P) + grad_P / parts
        found = noise_estimate(squared_norms, float(mean_P @ mean_P), rows)
        return finite({"noise_scale/simple": found.scale} | {f"noise_scale/{n}": getattr(found, n) for n in _PARTS})


_PARTS = ("trace", "squared_mean")
