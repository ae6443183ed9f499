"""A learning rate that falls along a cosine and starts again."""

from __future__ import annotations

from math import cos, pi
from typing import final

from torch import Tensor

from regplug.regularizer import EpochEnd, RegularizerFunctions, Step, Tensors


@final
class WarmRestarts(RegularizerFunctions):
    """Lowers the learning rate from epoch to epoch along a cosine, and starts again after `first` epochs.

    `rate = lowest + (1 - lowest) * (1 + cos(pi * T / T_i)) / 2`, as a share of the rate at the start, T epochs after
    the last restart; each period T_i is `growth` times as long as the one before.

    Source: Loshchilov and Hutter 2017, SGDR, equation 5; torch.optim.lr_scheduler.CosineAnnealingWarmRestarts.
    """

    def after_epoch(self, step: Step, metrics: Tensors, params: Tensors, buffers: Tensors) -> EpochEnd:
        """Sets the rate of the next epoch."""
        epoch = step.clock.epoch
        now, before = (self._rate(step.settings["lowest"], each) for each in (epoch, epoch - 1))
        return EpochEnd(params, buffers, step.state, rate_scale=now / before)

    def _rate(self, lowest: Tensor, epoch: int) -> Tensor:
        period, since = self.params.first, epoch
        while since >= period:
            since -= period
            period *= self.params.growth
        return lowest + (1 - lowest) * (1 + cos(pi * since / period)) / 2
