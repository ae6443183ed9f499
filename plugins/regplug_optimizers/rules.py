"""The first-party update rules, on lists of tensors. t counts steps from 1, g is the gradient, w the parameter."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import final

import torch
from torch import Tensor

from regplug.optimizers import (
    Number,
    OptimizerState,
    UpdateRule,
    UpdateStep,
    add_number_,
    add_product_,
    blend_,
    divide_,
    multiply_,
    subtract_scaled_,
)


@final
class SGD(UpdateRule):
    """`v = momentum * v + g; w = w - rate * v`, as torch.optim.SGD without dampening.

    Nesterov's form moves by `g + momentum * v`. Without momentum there is no v. Source: Sutskever et al. 2013, in
    torch's convention.
    """

    slots = ("momentum",)

    def init(self, params: Sequence[Tensor], settings: Mapping[str, Number]) -> OptimizerState:
        """No state where no run has momentum."""
        return super().init(params, settings) if _is_on(settings["momentum"]) else {}

    def update_(
        self, params: Sequence[Tensor], grads: Sequence[Tensor], state: OptimizerState, step: UpdateStep
    ) -> None:
        """Moves all parameters."""
        if "momentum" in state:
            velocities, momentum = state["momentum"], step.settings["momentum"]
            multiply_(velocities, momentum)
            torch._foreach_add_(velocities, list(grads))
            grads = _ahead(grads, velocities, momentum) if self.params.nesterov else velocities
        subtract_scaled_(params, grads, step.rate)


def _ahead(grads: Sequence[Tensor], velocities: Sequence[Tensor], momentum: Number) -> Sequence[Tensor]:
    if not isinstance(momentum, Tensor):
        return list(torch._foreach_add(list(grads), list(velocities), alpha=momentum))
    scaled = [velocity.clone() for velocity in velocities]
    multiply_(scaled, momentum)
    return list(torch._foreach_add(list(grads), scaled))


@final
class Adam(UpdateRule):
    """`w = w - rate / (1 - b1^t) * m / (sqrt(v / (1 - b2^t)) + eps)`, with means m of g and v of g^2.

    As torch.optim.Adam without amsgrad. Source: Kingma and Ba 2015.
    """

    slots = ("mean", "square")

    def update_(
        self, params: Sequence[Tensor], grads: Sequence[Tensor], state: OptimizerState, step: UpdateStep
    ) -> None:
        """Moves all parameters."""
        beta1, beta2, time = step.settings["beta1"], step.settings["beta2"], step.index + 1
        blend_(state["mean"], grads, 1.0 - beta1)
        _keep_square_(state["square"], grads, beta2)
        roots = torch._foreach_sqrt(state["square"])
        divide_(roots, (1.0 - beta2**time) ** 0.5)
        add_number_(roots, step.settings["eps"])
        subtract_scaled_(params, torch._foreach_div(state["mean"], roots), step.rate / (1.0 - beta1**time))


@final
class NAdam(UpdateRule):
    """`w = w - rate * ((1 - u_t) / (1 - U_t) * g + u_(t+1) / (1 - U_(t+1)) * m) / (sqrt(v / (1 - b2^t)) + eps)`.

    `u_t = b1 * (1 - 0.96^(t * momentum_decay) / 2)` and `U_t = u_1 * ... * u_t`. As torch.optim.NAdam. Source: Dozat
    2016.
    """

    slots = ("mean", "square")

    def update_(
        self, params: Sequence[Tensor], grads: Sequence[Tensor], state: OptimizerState, step: UpdateStep
    ) -> None:
        """Moves all parameters."""
        beta1, beta2, time = step.settings["beta1"], step.settings["beta2"], step.index + 1
        decay = self.params.momentum_decay
        now, after = (beta1 * _rise(decay, at) for at in (time, time + 1))
        product = beta1**time * _product_of_rises(decay, time)
        blend_(state["mean"], grads, 1.0 - beta1)
        _keep_square_(state["square"], grads, beta2)
        roots = torch._foreach_sqrt(state["square"])
        divide_(roots, (1.0 - beta2**time) ** 0.5)
        add_number_(roots, step.settings["eps"])
        subtract_scaled_(params, torch._foreach_div(list(grads), roots), step.rate * (1.0 - now) / (1.0 - product))
        subtract_scaled_(params, torch._foreach_div(state["mean"], roots), step.rate * after / (1.0 - product * after))


def _rise(decay: float, time: int) -> float:
    return float(1.0 - 0.5 * 0.96 ** (time * decay))


_PRODUCTS: dict[float, list[float]] = {}
"""By decay: the products of `_rise` up to each time, as far as they were asked for."""


def _product_of_rises(decay: float, time: int) -> float:
    known = _PRODUCTS.setdefault(decay, [1.0])
    while len(known) <= time:
        known.append(known[-1] * _rise(decay, len(known)))
    return known[time]


@final
class RMSprop(UpdateRule):
    """`w = w - rate * g / (sqrt(v) + eps)`, with v the mean of g^2.

    Centered, v is the mean of g^2 less the square of the mean of g. With momentum the quotients are gathered as in
    `SGD`. As torch.optim.RMSprop. Source: Hinton 2012, lecture 6e; Graves 2013 for the centered form.
    """

    def init(self, params: Sequence[Tensor], settings: Mapping[str, Number]) -> OptimizerState:
        """Slots for what is asked for alone."""
        wanted = {"square": True, "mean": self.params.centered, "momentum": _is_on(settings["momentum"])}
        return {slot: _zeros(params) for slot, is_wanted in wanted.items() if is_wanted}

    def update_(
        self, params: Sequence[Tensor], grads: Sequence[Tensor], state: OptimizerState, step: UpdateStep
    ) -> None:
        """Moves all parameters."""
        _keep_square_(state["square"], grads, step.settings["alpha"])
        squares = state["square"]
        if "mean" in state:
            blend_(state["mean"], grads, 1.0 - step.settings["alpha"])
            squares = list(torch._foreach_addcmul(squares, state["mean"], state["mean"], -1.0))
        roots = torch._foreach_sqrt(squares)
        add_number_(roots, step.settings["eps"])
        moves = torch._foreach_div(list(grads), roots)
        if "momentum" in state:
            multiply_(state["momentum"], step.settings["momentum"])
            torch._foreach_add_(state["momentum"], moves)
            moves = tuple(state["momentum"])
        subtract_scaled_(params, moves, step.rate)


@final
class Adagrad(UpdateRule):
    """`w = w - rate / (1 + (t - 1) * rate_decay) * g / (sqrt(s) + eps)`, with s the sum of all g^2.

    As torch.optim.Adagrad. Source: Duchi, Hazan and Singer 2011.
    """

    def init(self, params: Sequence[Tensor], settings: Mapping[str, Number]) -> OptimizerState:
        """The sum of squares starts from `initial`."""
        sums = _zeros(params)
        add_number_(sums, settings["initial"])
        return {"sum": sums}

    def update_(
        self, params: Sequence[Tensor], grads: Sequence[Tensor], state: OptimizerState, step: UpdateStep
    ) -> None:
        """Moves all parameters."""
        add_product_(state["sum"], grads, grads, 1.0)
        roots = torch._foreach_sqrt(state["sum"])
        add_number_(roots, step.settings["eps"])
        rate = step.rate / (1.0 + step.index * step.settings["rate_decay"])
        subtract_scaled_(params, torch._foreach_div(list(grads), roots), rate)


@final
class Lion(UpdateRule):
    """`w = w - rate * sign(b1 * m + (1 - b1) * g)`, then `m = b2 * m + (1 - b2) * g`.

    Source: Chen et al. 2023, arXiv:2302.06675, algorithm 2; its decoupled decay is the regularizer `weight_decay`.
    """

    slots = ("mean",)

    def update_(
        self, params: Sequence[Tensor], grads: Sequence[Tensor], state: OptimizerState, step: UpdateStep
    ) -> None:
        """Moves all parameters."""
        moves = [mean.clone() for mean in state["mean"]]
        blend_(moves, grads, 1.0 - step.settings["beta1"])
        subtract_scaled_(params, torch._foreach_sign(moves), step.rate)
        blend_(state["mean"], grads, 1.0 - step.settings["beta2"])


def _keep_square_(squares: Sequence[Tensor], grads: Sequence[Tensor], share: Number) -> None:
    """`v = share * v + (1 - share) * g^2`, in place."""
    multiply_(squares, share)
    add_product_(squares, grads, grads, 1.0 - share)


def _zeros(params: Sequence[Tensor]) -> list[Tensor]:
    return [torch.zeros_like(param, requires_grad=False) for param in params]


def _is_on(momentum: Number) -> bool:
    return isinstance(momentum, Tensor) or momentum != 0
