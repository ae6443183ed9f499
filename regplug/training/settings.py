"""Settings as tensors: the values of each run at each step of their schedules."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import torch
from torch import Tensor

from regplug.config.ramps import Ramp, first_value, last_value
from regplug.training.lift import Lift
from regplug.training.state import Pool, RunInputs

SettingTensors = Mapping[str, Mapping[str, Tensor]]
"""Regularizer's key -> parameter -> a scalar or one entry per place, with a leading axis of runs in a stack."""


class RunSettings:
    """The settings of a run, or of the runs of a stack.

    Args:
        runs: What each run brings.
        lift: One run or a stack.
        pool: The training rows, for number format and device.
        count: Steps of the whole run.
    """

    def __init__(self, runs: Sequence[RunInputs], lift: Lift, pool: Pool, count: int) -> None:
        self._count = count
        self._first = _tensors(_mapped(runs, first_value), lift, pool)
        ramps = [
            (key, name)
            for key, own in runs[0].settings.items()
            for name in own
            if any(isinstance(run.settings[key][name], Ramp) for run in runs)
        ]
        self._ways = {}
        if ramps:
            last = _tensors(_mapped(runs, last_value), lift, pool)
            for key, name in ramps:
                way = last[key][name] - self._first[key][name]
                self._ways[key, name] = way, _shares([run.settings[key][name] for run in runs], lift, way, count)

    def at(self, index: int) -> SettingTensors:
        """Returns the settings at a step.

        Args:
            index: Steps done before; beyond the last step, the settings of the last step are returned.
        """
        if not self._ways:
            return self._first
        at = min(max(index, 0), self._count - 1)
        now = {key: dict(own) for key, own in self._first.items()}
        for (key, name), (way, shares) in self._ways.items():
            now[key][name] = now[key][name] + way * shares[at]
        return now


def _shares(values: Sequence[Any], lift: Lift, like: Tensor, count: int) -> Tensor:
    """Returns the progress of each run's schedule at each step: `(steps,)`, or `(steps, runs)` for a stack."""
    each = [
        [value.share(index, count) if isinstance(value, Ramp) else 0.0 for value in values] for index in range(count)
    ]
    shares = torch.tensor(each, dtype=like.dtype, device=like.device)
    return shares[:, 0] if lift.runs is None else shares


def _mapped(runs: Sequence[RunInputs], value: Any) -> list[dict[str, dict[str, Any]]]:
    return [{key: {n: value(v) for n, v in own.items()} for key, own in run.settings.items()} for run in runs]


def _tensors(each: Sequence[Mapping[str, Mapping[str, Any]]], lift: Lift, pool: Pool) -> dict[str, dict[str, Tensor]]:
    floating = pool.x.dtype if pool.x.is_floating_point() else torch.get_default_dtype()

    def tensor(values: list[Any]) -> Tensor:
        numbers = values if lift.runs is not None else values[0]
        made = torch.tensor(numbers, device=pool.x.device)
        # Created again instead of converted: a float64 that passed through torch's default type has lost its precision.
        return torch.tensor(numbers, dtype=floating, device=pool.x.device) if made.is_floating_point() else made

    return {key: {n: tensor([own[key][n] for own in each]) for n in each[0][key]} for key in each[0]}


def first_settings(settings: Mapping[str, Mapping[str, Any]]) -> dict[str, dict[str, Any]]:
    """Returns the settings as plain numbers, at the first step of their schedules."""
    return {key: {name: first_value(value) for name, value in own.items()} for key, own in settings.items()}
