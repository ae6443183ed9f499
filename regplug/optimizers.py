"""The base class of optimizers, and arithmetic with one number for all runs or one for each run.

torch.optim has one learning rate for all tensors of a group, so a stack of runs needs its own update rules. In a stack
the runs are the leading axis of every tensor, and a number that differs between runs is a tensor `(runs,)`.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor

from regplug.training.lift import Lift

Number = float | Tensor
"""One number, or a tensor `(runs,)` with one for each run."""

OptimizerState = dict[str, list[Tensor]]
"""Slot -> one tensor for each parameter."""


@dataclass(frozen=True, slots=True)
class UpdateStep:
    """The arguments of an update rule besides its tensors.

    Args:
        rate: Learning rate at this step, >= 0.
        index: Steps done before this one.
        settings: The rule's parameters that are marked `Stackable`.
        runs: How many runs are stacked; `None` for one run without a leading axis.
    """

    rate: Number
    index: int
    settings: Mapping[str, Number]
    runs: int | None = None


class UpdateRule:
    """One optimizer. Override `update`, or `update_` for faster updates of lists of tensors.

    A rule keeps nothing in the object: everything that lasts from step to step is in the state, which the host saves
    and restores.

    >>> class SignDescent(UpdateRule):
    ...     def update(self, step, param, grad, state):
    ...         return param - step.rate * grad.sign(), state

    Args:
        params: An instance of the descriptor's parameter dataclass. Read numbers marked `Stackable` from
            `step.settings` instead.
    """

    slots: tuple[str, ...] = ()
    """Names of the state tensors, each with the shape of its parameter and initially zero."""

    def __init__(self, params: Any = None) -> None:
        self.params = params

    def init(self, params: Sequence[Tensor], settings: Mapping[str, Number]) -> OptimizerState:
        """Returns the initial state.

        Args:
            params: The parameters.
            settings: As in `UpdateStep`.
        """
        return {slot: [torch.zeros_like(p, requires_grad=False) for p in params] for slot in self.slots}

    def update(
        self, step: UpdateStep, param: Tensor, grad: Tensor, state: Mapping[str, Tensor]
    ) -> tuple[Tensor, Mapping[str, Tensor]]:
        """Returns the new value of one parameter of one run, and its new state, without writing to its arguments.

        The host lifts it over the runs of a stack, so learning rate and settings are numbers or scalar tensors.

        Args:
            step: Learning rate, index and settings.
            param: The parameter.
            grad: Its gradient.
            state: Its tensor in each slot.
        """
        raise NotImplementedError

    def update_(
        self, params: Sequence[Tensor], grads: Sequence[Tensor], state: OptimizerState, step: UpdateStep
    ) -> None:
        """Updates all parameters in place; by default, calls `update` for each.

        In a stack, an override receives tensors whose first axis is the runs, and numbers that may be tensors
        `(runs,)`.

        Args:
            params: The parameters.
            grads: Their gradients; not changed.
            state: The result of `init`; changed in place.
            step: Learning rate, index and settings.
        """
        own = [{slot: tensors[i] for slot, tensors in state.items()} for i in range(len(params))]
        given = {"/rate": step.rate, **step.settings}
        differing = {name: value for name, value in given.items() if isinstance(value, Tensor)}

        def moved(differing: Mapping[str, Tensor], *rows: Any) -> Any:
            numbers = {**given, **differing}
            one = UpdateStep(numbers.pop("/rate"), step.index, numbers)
            return tuple(self.update(one, *row) for row in rows)

        rows = list(zip(params, grads, own, strict=True))
        results = Lift(step.runs)(moved)(differing, *rows)
        for (param, _, kept), (new, state_of_it) in zip(rows, results, strict=True):
            param.copy_(new)
            for slot, value in kept.items():
                value.copy_(state_of_it[slot])


def subtract_scaled_(params: Sequence[Tensor], moves: Sequence[Tensor], rate: Number) -> None:
    """`w = w - rate * move`, in place."""
    if isinstance(rate, Tensor):
        for param, move in zip(params, moves, strict=True):
            param.addcmul_(move, _factor(rate, param), value=-1.0)
    else:
        torch._foreach_add_(list(params), list(moves), alpha=-rate)


def multiply_(tensors: Sequence[Tensor], factor: Number) -> None:
    """`t = factor * t`, in place."""
    if isinstance(factor, Tensor):
        for tensor in tensors:
            tensor.mul_(_factor(factor, tensor))
    else:
        torch._foreach_mul_(list(tensors), factor)


def divide_(tensors: Sequence[Tensor], divisor: Number) -> None:
    """`t = t / divisor`, in place."""
    if isinstance(divisor, Tensor):
        for tensor in tensors:
            tensor.div_(_factor(divisor, tensor))
    else:
        torch._foreach_div_(list(tensors), divisor)


def add_number_(tensors: Sequence[Tensor], number: Number) -> None:
    """`t = t + number`, in place."""
    if isinstance(number, Tensor):
        for tensor in tensors:
            tensor.add_(_factor(number, tensor))
    else:
        torch._foreach_add_(list(tensors), number)


def add_product_(tensors: Sequence[Tensor], first: Sequence[Tensor], second: Sequence[Tensor], factor: Number) -> None:
    """`t = t + factor * a * b`, in place."""
    if isinstance(factor, Tensor):
        for tensor, a, b in zip(tensors, first, second, strict=True):
            tensor.addcmul_(a * _factor(factor, tensor), b)
    else:
        torch._foreach_addcmul_(list(tensors), list(first), list(second), factor)


def blend_(tensors: Sequence[Tensor], others: Sequence[Tensor], share: Number) -> None:
    """`t = (1 - share) * t + share * other`, in place."""
    if isinstance(share, Tensor):
        for tensor, other in zip(tensors, others, strict=True):
            tensor.lerp_(other, _factor(share, tensor).expand_as(tensor))
    else:
        torch._foreach_lerp_(list(tensors), list(others), share)


def per_run(values: Tensor, like: Tensor) -> Tensor:
    """Reshapes `(runs,)` values so that they broadcast over a `(runs, ...)` tensor; leaves a scalar unchanged."""
    return values.view(-1, *[1] * (like.ndim - 1)) if values.ndim else values


def _factor(values: Tensor, like: Tensor) -> Tensor:
    """Returns one value per run, in the dtype of the tensor that they multiply."""
    return per_run(values, like).to(like.dtype)


__all__ = [
    "Number",
    "OptimizerState",
    "UpdateRule",
    "UpdateStep",
    "add_number_",
    "add_product_",
    "blend_",
    "divide_",
    "multiply_",
    "per_run",
    "subtract_scaled_",
]
