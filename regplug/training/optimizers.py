"""Update rules with a rate for each run, held to torch.optim's in tests.

torch.optim knows one rate for all tensors of a group, so a stack of runs needs rules of its own. A rule updates lists
of tensors in place; `rate` is one number, or a tensor with one entry for each run, the leading axis of every tensor.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import torch
from torch import Tensor

from regplug.errors import ParameterError, did_you_mean

Rate = float | Tensor
OptimizerState = dict[str, list[Tensor]]


class UpdateRule:
    """One optimizer without parameters of its own; abstract."""

    slots: tuple[str, ...] = ()
    """Names of the state tensors, each shaped like its parameter and zero at the start."""

    def init(self, params: Sequence[Tensor]) -> OptimizerState:
        """Returns the state to start with."""
        return {slot: [torch.zeros_like(p, requires_grad=False) for p in params] for slot in self.slots}

    def update_(
        self, params: Sequence[Tensor], grads: Sequence[Tensor], state: OptimizerState, rate: Rate, step: int
    ) -> None:
        """Moves the parameters in place.

        Args:
            params: The parameters.
            grads: Their gradients.
            state: What `init` returned; changed in place.
            rate: Learning rate, >= 0: one number or `(runs,)`.
            step: Steps done before this one.
        """
        raise NotImplementedError


class SGD(UpdateRule):
    r"""Stochastic gradient descent: `v = momentum * v + g; w = w - rate * v`, as torch.optim.SGD without dampening.

    Nesterov's form moves by `g + momentum * v`. Source: Sutskever et al. 2013, in torch's convention.
    """

    def __init__(self, *, momentum: float = 0.0, nesterov: bool = False) -> None:
        self.momentum, self.nesterov = momentum, nesterov
        self.slots = ("momentum",) if momentum else ()

    def update_(
        self, params: Sequence[Tensor], grads: Sequence[Tensor], state: OptimizerState, rate: Rate, step: int
    ) -> None:
        """See `UpdateRule.update_`."""
        if self.momentum:
            velocities = state["momentum"]
            torch._foreach_mul_(velocities, self.momentum)
            torch._foreach_add_(velocities, list(grads))
            grads = torch._foreach_add(list(grads), velocities, alpha=self.momentum) if self.nesterov else velocities
        subtract_scaled_(params, grads, rate)


class Adam(UpdateRule):
    r"""Adam with bias correction: `w = w - rate / (1 - b1^t) * m / (sqrt(v / (1 - b2^t)) + eps)`.

    Source: Kingma and Ba 2015; torch.optim.Adam without amsgrad.
    """

    slots = ("mean", "square")

    def __init__(self, *, beta1: float = 0.9, beta2: float = 0.999, eps: float = 1e-8) -> None:
        self.beta1, self.beta2, self.eps = beta1, beta2, eps

    def update_(
        self, params: Sequence[Tensor], grads: Sequence[Tensor], state: OptimizerState, rate: Rate, step: int
    ) -> None:
        """See `UpdateRule.update_`."""
        means, squares = state["mean"], state["square"]
        torch._foreach_lerp_(means, list(grads), 1.0 - self.beta1)
        torch._foreach_mul_(squares, self.beta2)
        torch._foreach_addcmul_(squares, list(grads), list(grads), 1.0 - self.beta2)
        roots = torch._foreach_sqrt(squares)
        torch._foreach_div_(roots, (1.0 - self.beta2 ** (step + 1)) ** 0.5)
        torch._foreach_add_(roots, self.eps)
        subtract_scaled_(params, torch._foreach_div(means, roots), rate / (1.0 - self.beta1 ** (step + 1)))


def subtract_scaled_(params: Sequence[Tensor], moves: Sequence[Tensor], rate: Rate) -> None:
    """`w = w - rate * move`, in place, with one rate or one for each run."""
    if isinstance(rate, Tensor):
        for param, move in zip(params, moves, strict=True):
            param.addcmul_(move, per_run(rate, param), value=-1.0)
    else:
        torch._foreach_add_(list(params), list(moves), alpha=-rate)


def per_run(values: Tensor, like: Tensor) -> Tensor:
    """Shapes `(runs,)` values so that they multiply a `(runs, ...)` tensor; leaves a scalar as it is."""
    return values.view(-1, *[1] * (like.ndim - 1)) if values.ndim else values


_RULES: Mapping[str, Any] = {"sgd": SGD, "adam": Adam, "adamw": Adam}


def make_rule(name: str, *, momentum: float = 0.0, nesterov: bool = False) -> UpdateRule:
    """Makes an update rule by name.

    `adamw` is Adam's rule: its decay is the regularizer `weight_decay`, decoupled for every optimizer.

    Raises:
        ParameterError: If the name is unknown, or momentum is asked of a rule that has none.
    """
    if name not in _RULES:
        raise ParameterError(f"optimizer={name} is unknown.", hint=did_you_mean(name, _RULES))
    if name == "sgd":
        if nesterov and not momentum:
            raise ParameterError("nesterov=true needs a momentum.", hint="Add --momentum 0.9, or leave nesterov out.")
        return SGD(momentum=momentum, nesterov=nesterov)
    if momentum or nesterov:
        raise ParameterError(
            f"momentum={momentum} has no effect on optimizer={name}.",
            hint="Leave --momentum out, or use --optimizer sgd.",
        )
    return Adam()
