"""Batch normalization as its formula has it, for study: nothing of torch's but the names of the tensors.

Shape letters: B rows, C channels; `...` positions.
"""

from __future__ import annotations

from typing import final

import torch
from torch import Tensor, nn

from regplug.regularizer import RegularizerFunctions
from regplug.sites import Sites
from regplug_regularizers.normalization.places import Shape, put_normalizations


def moments(x: Tensor) -> tuple[Tensor, Tensor]:
    """Mean and biased variance `sum (x - mean)^2 / n` of each channel: both `(C,)`, of `(B, C, ...)`."""
    axes = [0, *range(2, x.ndim)]
    mean = x.mean(axes)
    return mean, (x - channelwise(mean, x)).square().mean(axes)


def channelwise(values_C: Tensor, x: Tensor) -> Tensor:
    """One value for each channel, shaped to broadcast over `x`, `(B, C, ...)`."""
    return values_C.view(-1, *[1] * (x.ndim - 2))


@final
class BatchNormScratchLayer(nn.modules.batchnorm._BatchNorm):
    """`weight * (x - mean) / sqrt(var + eps) + bias`.

    In training with the batch's mean and biased variance; the running variance averages the unbiased one, `n / (n - 1)`
    times as large. In evaluation with the running ones. Equal to nn.BatchNorm, whose tensors it has by name.
    """

    def forward(self, x: Tensor) -> Tensor:
        """Normalises `(B, C, ...)`."""
        if self.training:
            mean, variance = moments(x)
            self._follow(mean.detach(), variance.detach(), x.numel() // x.shape[1])
        else:
            mean, variance = self.get_buffer("running_mean"), self.get_buffer("running_var")
        normalised = (x - channelwise(mean, x)) / channelwise((variance + self.eps).sqrt(), x)
        return channelwise(self.weight, x) * normalised + channelwise(self.bias, x)

    @torch.no_grad()
    def _follow(self, mean: Tensor, variance: Tensor, count: int) -> None:
        """`running = (1 - momentum) * running + momentum * new`, in place: a stack's buffers are written as well."""
        news = {"running_mean": mean, "running_var": variance * count / (count - 1)}
        for name, new in news.items():
            running = self.get_buffer(name)
            running.copy_((1 - (self.momentum or 0.0)) * running + (self.momentum or 0.0) * new)
        self.get_buffer("num_batches_tracked").add_(1)


@final
class BatchNormScratch(RegularizerFunctions):
    """Puts the textbook's batch normalization before each activation, or behind the modules that `at` names.

    Source: Ioffe and Szegedy 2015; Zhang et al. 2023, Dive into Deep Learning, section 8.5, whose running variance
    averages the biased one instead.
    """

    def restructure(self, model: nn.Module, sites: Sites) -> None:
        """Puts the layers in."""
        put_normalizations(sites, self.params.at, self._layer)

    def _layer(self, name: str, shape: Shape) -> nn.Module:
        return BatchNormScratchLayer(shape[1], eps=self.params.eps, momentum=self.params.momentum)
