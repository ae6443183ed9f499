"""Finds the regularizers that choose by validation metrics, by recording what they read at the end of an epoch."""

from __future__ import annotations

import contextlib
from collections.abc import Iterator, Mapping
from typing import Any

import torch
from torch import Tensor

from regplug.config.ramps import first_value
from regplug.data.inputs import Inputs
from regplug.measuring.metrics import metric_names
from regplug.regularizer import Clock, Step
from regplug.runs.assembly import Assembly
from regplug.training.shapes import shapes_for


class _Watched(Mapping[str, Tensor]):
    """Metrics of an epoch that record which of them were read."""

    def __init__(self, names: list[str], like: Inputs) -> None:
        self._values = {name: like.new_ones(()) for name in names}
        self.read: set[str] = set()

    def __getitem__(self, name: str) -> Tensor:
        self.read.add(name)
        return self._values[name]

    def __iter__(self) -> Iterator[str]:
        return iter(self._values)

    def __len__(self) -> int:
        return len(self._values)


def find_choosers(made: Assembly) -> tuple[str, ...]:
    """Returns the keys of the regularizers that read a metric of the validation rows, such as early stopping.

    Each is asked for the end of a made-up epoch, on copies of the tensors, so that a plugin need not declare it.
    """
    return tuple(member.key for member in made.network.regularizer.acting("after_epoch") if _reads_valid(made, member))


def _reads_valid(made: Assembly, member: Any) -> bool:
    program, task = made.program, made.data.task
    params, buffers = (
        {name: tensor.detach().clone() for name, tensor in tensors.items()}
        for tensors in (program.params, program.buffers)
    )
    like = made.data.train.x
    names = [f"{split}/{name}" for split in ("train", "valid", "test") for name in metric_names(task)[:2]]
    metrics = _Watched(["train/objective", "train/running_loss", "train/running_accuracy", *names], like)
    numbers = made.network.settings.get(member.key, {})
    settings = {name: torch.as_tensor(first_value(value)) for name, value in numbers.items()}
    rows = len(made.data.train)
    shapes = shapes_for(
        program,
        made.network.places,
        made.network.settings,
        x=like.shape,
        y=made.data.train.y.shape,
        batch=made.config.batch_size,
        rows=rows,
    )(member.key)
    clock = Clock(index=0, count=1, epoch=1, epochs=made.course.epochs, task=task, roles=program.roles)
    # Exceptions on made-up numbers are ignored; a real failure shows up in the trial of a stack.
    with contextlib.suppress(Exception), torch.no_grad():
        state = member.functions.init(shapes, params, buffers)
        member.functions.after_epoch(Step(settings, {}, clock, state=state), metrics, params, buffers)
    return any(name.startswith("valid/") for name in metrics.read)
