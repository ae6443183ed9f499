"""Losses of one run: means over the batch, of logits or values and targets."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass

import torch.nn.functional as F
from torch import Tensor

from regplug.api import Task, TaskKind
from regplug.errors import ParameterError, did_you_mean


@dataclass(frozen=True)
class LossFunction:
    """A loss and the task that it is for.

    Args:
        name: As in the configuration.
        task: The task that it is for.
        mean: `(outputs, targets) -> scalar`, the mean over the batch (and over a regression's columns).
        per_sample: `(outputs, targets) -> (B,)`, the loss of each row (the mean over a regression's columns).
    """

    name: str
    task: TaskKind
    mean: Callable[[Tensor, Tensor], Tensor]
    per_sample: Callable[[Tensor, Tensor], Tensor]


def _rows_of(function: Callable[..., Tensor]) -> Callable[[Tensor, Tensor], Tensor]:
    """A loss of torch's by rows: the mean over a regression's columns."""

    def per_sample(outputs: Tensor, targets: Tensor) -> Tensor:
        losses = function(outputs, targets, reduction="none")
        return losses if losses.ndim == 1 else losses.flatten(1).mean(1)

    return per_sample


def half_squared_error(values: Tensor, targets: Tensor, reduction: str = "mean") -> Tensor:
    """Half the mean squared error, `(y - t)^2 / 2`. Source: Dive into Deep Learning 3.1."""
    return F.mse_loss(values, targets, reduction=reduction) / 2


LOSSES: Mapping[str, LossFunction] = {
    loss.name: loss
    for loss in (
        LossFunction("cross_entropy", "classification", F.cross_entropy, _rows_of(F.cross_entropy)),
        LossFunction("mse", "regression", F.mse_loss, _rows_of(F.mse_loss)),
        LossFunction("half_squared_error", "regression", half_squared_error, _rows_of(half_squared_error)),
        LossFunction("huber", "regression", F.huber_loss, _rows_of(F.huber_loss)),
    )
}
_DEFAULTS: Mapping[TaskKind, str] = {"classification": "cross_entropy", "regression": "mse"}


def make_loss(name: str, task: Task) -> LossFunction:
    """Finds a loss by name; `auto` is cross entropy for a classification and the mean squared error for a regression.

    Raises:
        ParameterError: If the name is unknown, or the loss is for another task.
    """
    name = _DEFAULTS[task.kind] if name == "auto" else name
    if name not in LOSSES:
        raise ParameterError(f"loss={name} is unknown.", hint=did_you_mean(name, LOSSES))
    loss = LOSSES[name]
    if loss.task != task.kind:
        allowed = ", ".join(each.name for each in LOSSES.values() if each.task == task.kind)
        raise ParameterError(
            f"loss={name} is for a {loss.task}, and the dataset is a {task.kind}.", hint=f"Use {allowed}."
        )
    return loss
