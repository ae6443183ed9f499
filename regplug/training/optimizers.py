"""The update rule of a training: a component's, with the settings of the runs, or a class of torch.optim adapted."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

import torch
from torch import Tensor

from regplug.optimizers import Number, OptimizerState, UpdateRule, UpdateStep, per_run

Rate = Number


class BoundRule:
    """An update rule with the settings of the runs that it moves.

    Args:
        rule: The rule.
        settings: For each run, its stackable parameters.
        runs: How many runs are stacked; `None` for one run without a leading axis.
        device: Where the runs are trained.
    """

    def __init__(
        self,
        rule: UpdateRule,
        settings: Sequence[Mapping[str, float]],
        runs: int | None,
        device: torch.device | None = None,
    ) -> None:
        self._rule, self._runs = rule, runs
        # A number that all runs share stays a number: so no tensor of each run's own is needed for it.
        self._settings = {name: _shared([own[name] for own in settings], device) for name in settings[0]}

    def init(self, params: Sequence[Tensor]) -> OptimizerState:
        """Returns the state to start with."""
        return self._rule.init(params, self._settings)

    def update_(
        self, params: Sequence[Tensor], grads: Sequence[Tensor], state: OptimizerState, rate: Rate, index: int
    ) -> None:
        """Moves the parameters in place; see `UpdateRule.update_`."""
        self._rule.update_(params, grads, state, UpdateStep(rate, index, self._settings, self._runs))


def _shared(values: Sequence[float], device: torch.device | None) -> Number:
    # In float64 whatever is trained: in float32, 1 - 0.999 is off by 1e-5 of itself.
    is_one = len(set(values)) == 1
    return values[0] if is_one else torch.tensor(values, dtype=torch.float64, device=device)


__all__ = ["BoundRule", "OptimizerState", "Rate", "UpdateRule", "per_run"]
