"""A class of torch.optim as an update rule, for one run at a time."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import torch
from torch import Tensor

from regplug.errors import RequestError
from regplug.optimizers import OptimizerState, UpdateRule, UpdateStep

_NUMBER = "number/"
"""Before the name of a slot that holds Python numbers."""


class TorchRule(UpdateRule):
    """Runs one step of a torch optimizer whose state is kept in the rule's state.

    Args:
        cls: A subclass of torch.optim.Optimizer.
        keywords: Its keyword arguments other than `params` and `lr`.
        name: How the user wrote it, for messages.
    """

    def __init__(self, cls: type[torch.optim.Optimizer], keywords: Mapping[str, Any], name: str) -> None:
        super().__init__()
        self._class, self._keywords, self._name = cls, dict(keywords), name
        self._optimizer: torch.optim.Optimizer | None = None
        self._params: Sequence[Tensor] = ()
        self._state: OptimizerState = {}
        self._at_start: dict[str, Any] = {}

    def try_out(self, params: Sequence[Tensor], rate: float) -> None:
        """Makes one step on copies of the parameters.

        Raises:
            RequestError: It cannot train them.
        """
        copies = [param.detach().clone().requires_grad_() for param in params]
        try:
            with torch.no_grad():
                self.update_(copies, [torch.ones_like(copy) for copy in copies], {}, UpdateStep(rate, 0, {}))
        except Exception as error:  # whatever a class of somebody else's raises
            said = " ".join(str(error).split()) or type(error).__name__
            raise RequestError(
                f"The optimizer {self._name} cannot train this model: {said}",
                hint="`regplug plugins list --kind optimizer` lists those of plugins.",
            ) from error

    def init(self, params: Sequence[Tensor], settings: Mapping[str, Any]) -> OptimizerState:
        """Nothing: torch's optimizers make their state at their first step."""
        return {}

    def update_(
        self, params: Sequence[Tensor], grads: Sequence[Tensor], state: OptimizerState, step: UpdateStep
    ) -> None:
        """Steps the optimizer, and writes its state back."""
        if step.runs is not None:
            raise TypeError(f"{self._name} takes one learning rate for all tensors and cannot train a stack")
        optimizer = self._of(params, state, float(step.rate))
        for group in optimizer.param_groups:
            group["lr"] = float(step.rate)
        for param, grad in zip(params, grads, strict=True):
            param.grad = grad
        optimizer.step()
        for param in params:
            param.grad = None
        state.update(self._kept(optimizer, params))

    def _of(self, params: Sequence[Tensor], state: OptimizerState, rate: float) -> torch.optim.Optimizer:
        """The optimizer as its last step left it, or a new one with a state that was loaded."""
        if self._optimizer is None or params is not self._params or state is not self._state:
            self._optimizer = self._class(list(params), lr=rate, **self._keywords)  # type: ignore[call-arg] # not in the base
            self._params, self._state = params, state
            self._at_start = dict(self._optimizer.param_groups[0])
            for key, (value,) in state.items():
                owner, _, slot = key.partition("/")
                kept = self._optimizer.state[params[int(owner)]] if owner else self._optimizer.param_groups[0]
                kept[slot.removeprefix(_NUMBER)] = value.item() if slot.startswith(_NUMBER) else value
        return self._optimizer

    def _kept(self, optimizer: torch.optim.Optimizer, params: Sequence[Tensor]) -> OptimizerState:
        """All that the optimizer keeps, as `parameter/slot`; what it keeps for all parameters has no parameter."""
        kept = {
            f"{number}/{slot}": value
            for number, param in enumerate(params)
            for slot, value in optimizer.state[param].items()
        }
        group = optimizer.param_groups[0]
        changed = [name for name in group if name not in ("params", "lr") and group[name] != self._at_start.get(name)]
        kept |= {f"/{name}": group[name] for name in changed}
        return dict(_as_slot(key, value) for key, value in kept.items() if value is not None)


def _as_slot(key: str, value: Any) -> tuple[str, list[Tensor]]:
    if isinstance(value, Tensor):
        return key, [value]
    if isinstance(value, int | float):
        owner, _, slot = key.partition("/")
        dtype = torch.float64 if isinstance(value, float) else None
        return f"{owner}/{_NUMBER}{slot}", [torch.tensor(value, dtype=dtype)]
    raise TypeError(f"it stores a {type(value).__name__} as {key.partition('/')[2]}, which a run cannot save")
