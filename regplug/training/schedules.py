"""Learning-rate schedules by name: torch's own schedulers, read off once as factors on the rate."""

from __future__ import annotations

import warnings
from collections.abc import Callable, Mapping
from typing import Any

import torch
from torch.optim import lr_scheduler as torch_schedules

from regplug.config.schedules import Constant, Cosine, Exponential, Linear, OneCycle, StepDown


def rate_factors(schedule: Any, *, epochs: int, steps_per_epoch: int, warmup: int = 0) -> list[float]:
    """Returns the factor on the learning rate at each step.

    Args:
        schedule: One of the dataclasses of `SCHEDULES`.
        epochs: Epochs of the run.
        steps_per_epoch: Steps in each.
        warmup: Epochs in which the rate first rises linearly from 0, exclusive; the schedule takes what is left.

    Returns:
        `epochs * steps_per_epoch` numbers.
    """
    count, rising = epochs * steps_per_epoch, min(warmup, epochs) * steps_per_epoch
    start = [(step + 1) / (rising + 1) for step in range(rising)]
    return start + _factors(schedule, count - rising, steps_per_epoch)


def _factors(schedule: Any, count: int, steps_per_epoch: int) -> list[float]:
    if isinstance(schedule, Constant) or count <= 0:
        return [1.0] * max(0, count)
    optimizer = torch.optim.SGD([torch.zeros(1, requires_grad=True)], lr=1.0)
    scheduler = _BUILDERS[type(schedule)](optimizer, schedule, count, steps_per_epoch)
    factors = []
    with warnings.catch_warnings():
        # No parameter is trained here, so the order of the two steps is of no matter.
        warnings.filterwarnings("ignore", "Detected call of `lr_scheduler.step")
        for _ in range(count):
            factors.append(float(optimizer.param_groups[0]["lr"]))
            scheduler.step()
    return factors


_BUILDERS: Mapping[type, Callable[[torch.optim.Optimizer, Any, int, int], Any]] = {
    Cosine: lambda o, s, count, _: torch_schedules.CosineAnnealingLR(o, T_max=count, eta_min=s.final),
    Linear: lambda o, s, count, _: torch_schedules.LinearLR(o, 1.0, s.final, total_iters=count),
    StepDown: lambda o, s, _, per_epoch: torch_schedules.StepLR(o, s.every * per_epoch, gamma=s.factor),
    Exponential: lambda o, s, _, per_epoch: torch_schedules.StepLR(o, per_epoch, gamma=s.factor),
    OneCycle: lambda o, s, count, _: torch_schedules.OneCycleLR(
        o, max_lr=1.0, total_steps=count + 1, pct_start=s.up, cycle_momentum=False
    ),
}
