"""The objective phase: penalties, and losses around the loss."""

from __future__ import annotations

import math
from collections.abc import Iterator
from contextlib import nullcontext
from typing import Any, cast

import torch
from torch import Tensor

from regplug.errors import ParameterError
from regplug.regularization.composition import compose, overrides
from regplug.regularizer import Outputs, Step, Tensors
from regplug.testing.building import make_rig, networks_of
from regplug.testing.checking import NotApplicable, attempting, expect
from regplug.testing.checks.layers import check_gradient
from regplug.testing.generators import generators_untouched
from regplug.testing.rig import KEY, Rig
from regplug.testing.subject import Subject
from regplug.testing.tags import PENALISES_BIASES
from regplug.testing.trainings import same_bits
from regplug.testing.values import off_values
from regplug.testing.watched import StopsGradients

"""Tag of a penalty that is meant to act on biases and normalization parameters at its default parameters."""

_LINEAR = 1e-9
_EPOCHS = (3, 9)
"""Epochs done when a penalty is checked; it may begin late in a run."""


def _rigs(subject: Subject, **values: object) -> Iterator[Rig]:
    for name in networks_of(subject):
        rig = make_rig(subject, name, values=values)
        if not overrides(rig.functions, "penalty"):
            raise NotApplicable("it has no penalty")
        yield rig


def _penalty(
    rig: Rig, params: Tensors | None = None, settings: Any = None, stops: StopsGradients | None = None
) -> Tensor:
    """The penalty at these parameters, with the outputs of a pass at them."""
    params = rig.params if params is None else params
    outputs = rig.program.forward(params, rig.buffers, rig.step(), rig.x())
    with attempting(f"the penalty on {rig.name}"):
        for epoch in _EPOCHS:
            step, weights = _step(rig, params, settings, epoch), rig.weights(params)
            with stops or nullcontext():
                value = rig.functions.penalty(step, weights, outputs)
            if value is not None:
                break
    expect(isinstance(value, Tensor), f"the penalty is a {type(value).__name__}, but must be a tensor")
    return cast(Tensor, value)


def _step(rig: Rig, params: Tensors, settings: Any = None, epoch: int = 0) -> Step:
    """A step in the middle of a run: its state no longer equals the network's parameters."""
    return rig.own_step(settings=settings, epoch=epoch, state=rig.moved_state(), params=params)


def _strengths(subject: Subject) -> dict[str, float]:
    fields = {name: off for name, off in off_values(subject).items() if off == 0}
    if not fields:
        raise NotApplicable("no parameter declares that 0 switches it off: Stackable(off=0)")
    return fields


def penalty_is_a_finite_scalar(subject: Subject) -> None:
    """A penalty that is not a scalar, or is negative, infinite or NaN."""
    for rig in _rigs(subject):
        value = _penalty(rig)
        expect(value.ndim == 0, f"{rig.name}: the penalty has the shape {tuple(value.shape)}")
        expect(torch.isfinite(value).all(), f"{rig.name}: the penalty is {float(value)}")
        expect(float(value) >= 0, f"{rig.name}: the penalty is {float(value)}")
        expect(value.dtype == rig.dtype, f"{rig.name}: the penalty is {value.dtype}, the weights {rig.dtype}")


def penalty_is_zero_at_zero(subject: Subject) -> None:
    """A penalty with an offset: strength 0 would not be the run without it."""
    for field, off in _strengths(subject).items():
        for rig in _rigs(subject, **{field: off}):
            expect(float(_penalty(rig)) == 0, f"{rig.name}: at {field}={off} the penalty is {float(_penalty(rig))}")


def penalty_is_linear_in_strength(subject: Subject) -> None:
    """A strength that enters squared or twice, so that it cannot be compared with published values."""
    fields = [field for field in _strengths(subject) if field.split("_")[-1] == "strength"]
    if not fields:
        raise NotApplicable("no parameter that 0 switches off is called a strength")
    for field in fields:
        for rig in _rigs(subject):
            values = [float(_penalty(rig, settings=_at(rig, field, factor))) for factor in (1.0, 2.0, 5.0)]
            for factor, value in zip((2.0, 5.0), values[1:], strict=True):
                told = f"{factor} times the {field} is {value / (values[0] or math.nan):.6g} times the penalty"
                expect(math.isclose(value, factor * values[0], rel_tol=_LINEAR), f"{rig.name}: {told}")


def _at(rig: Rig, field: str, factor: float) -> Any:
    settings = rig.setting_tensors()
    base = settings[KEY][field]
    start = torch.where(base == 0, torch.full_like(base, 0.1), base)
    return {**settings, KEY: {**settings[KEY], field: factor * start}}


def penalty_has_a_gradient(subject: Subject) -> None:
    """A penalty detached by `.item()`, `.detach()` or `.data`: it is logged but has no effect."""
    for rig in _rigs(subject):
        # Another seed than the state's, which would be equal to these parameters.
        params = {name: value.requires_grad_() for name, value in rig.moved_params(seed=18).items()}
        value = _penalty(rig, params)
        expect(value.requires_grad, f"{rig.name}: the penalty has no gradient")
        grads = torch.autograd.grad(value, list(params.values()), allow_unused=True)
        felt = [grad for grad in grads if grad is not None]
        expect(felt and any(bool((grad != 0).any()) for grad in felt), f"{rig.name}: the penalty's gradient is zero")
        expect(all(torch.isfinite(grad).all() for grad in felt), f"{rig.name}: its gradient is not finite")


def penalty_gradient_is_true(subject: Subject) -> None:
    """A gradient that is not the penalty's derivative (`torch.autograd.gradcheck`, float64, away from zero).

    In the outputs a penalty may mean to keep a gradient from flowing, in the weights it may not.
    """
    for rig in _rigs(subject):
        _check_weights(rig)
        names, values = zip(*rig.params.items(), strict=True)
        stops = StopsGradients()
        # Away from the kink of |w| at zero, which a numerical derivative would straddle.
        away = [(v + 0.05 * v.sign()).requires_grad_() for v in values]

        def penalty(
            *tensors: Tensor, rig: Rig = rig, names: tuple[str, ...] = names, stops: StopsGradients = stops
        ) -> Tensor:
            return _penalty(rig, dict(zip(names, tensors, strict=True)), stops=stops)

        check_gradient(penalty, away, f"gradcheck of the penalty on {rig.name}", stops)


def _check_weights(rig: Rig) -> None:
    """Compares the gradient by the effective weights with the numerical one, at fixed outputs."""
    step = _step(rig, rig.params, epoch=_EPOCHS[0])
    fixed = rig.program.forward(rig.params, rig.buffers, rig.step(), rig.x())
    weights = {name: value.detach() for name, value in rig.weights(rig.params).items()}
    away = [(value + 0.05 * value.sign()).requires_grad_() for value in weights.values()]

    def penalty(*tensors: Tensor) -> Tensor:
        value = rig.functions.penalty(step, dict(zip(weights, tensors, strict=True)), fixed)
        return away[0].sum() * 0 if value is None else value

    if penalty(*away).requires_grad:
        with attempting(f"gradcheck of the penalty by the weights of {rig.name}"):
            torch.autograd.gradcheck(penalty, away, atol=1e-6, rtol=1e-4, fast_mode=True)


def biases_and_norms_are_spared(subject: Subject) -> None:
    """A penalty on biases and normalization parameters without the tag for it."""
    if PENALISES_BIASES in subject.component.tags:
        raise NotApplicable(f"it has the tag {PENALISES_BIASES}")
    for rig in _rigs(subject):
        fixed = rig.program.forward(rig.params, rig.buffers, rig.step(), rig.x())
        values = []
        for shift in (0.0, 1.0):
            weights = {
                name: value + shift * (rig.program.roles.get(name, "weight") in ("bias", "norm"))
                for name, value in rig.weights(rig.params).items()
            }
            values.append(rig.functions.penalty(_step(rig, rig.params, epoch=_EPOCHS[0]), weights, fixed))
        expect(values[0] == values[1], f"{rig.name}: biases or normalization parameters are penalised")


def penalty_writes_nothing(subject: Subject) -> None:
    """A penalty that writes to the weights or to the network's outputs."""
    for rig in _rigs(subject):
        params = rig.params
        outputs = rig.program.forward(params, rig.buffers, rig.step(), rig.x())
        kept = [*params.values(), outputs.logits, *outputs.taps.values()]
        before = [value.detach().clone() for value in kept]
        with torch.no_grad(), attempting("the penalty"), generators_untouched("the penalty"):
            rig.functions.penalty(rig.own_step(params=params), rig.weights(params), outputs)
        expect(same_bits(before, [value.detach() for value in kept]), f"{rig.name}: the penalty wrote to a tensor")


def negative_strength_is_refused(subject: Subject) -> None:
    """A strength without a lower bound: a negative value would reward instead of penalise."""
    if not overrides(subject.build(), "penalty"):
        raise NotApplicable("it has no penalty")
    for field in _strengths(subject):
        try:
            subject.params(**{field: -1.0})
        except ParameterError:
            continue
        expect(False, f"{field}=-1 is taken; write Ge(0)")


def penalties_add_up(subject: Subject) -> None:
    """A penalty that keeps state or uses another one's data, so that two of them do not add up."""
    for rig in _rigs(subject):
        # The second has restructured a network of its own: what it remembers of that is as in the first.
        pair = compose([("one", rig.functions), ("two", make_rig(subject, rig.name).functions)])
        step, state = rig.step(epoch=_EPOCHS[0]), rig.moved_state()
        settings, noise = step.settings[KEY], step.noise.get(KEY, {})
        step.settings = {**step.settings, "one": settings, "two": settings}
        step.noise = {**step.noise, "one": noise, "two": noise}
        step = step.replaced(state={f"{key}/{n}": v for key in (KEY, "one", "two") for n, v in state.items()})
        outputs = _doubled(rig.program.forward(rig.params, rig.buffers, rig.step(), rig.x()))
        single = rig.functions.penalty(step.child(KEY), rig.weights(rig.params), outputs)
        if single is None:
            continue
        total = pair.penalty(step, rig.weights(rig.params), outputs)
        is_sum = math.isclose(float(cast(Tensor, total)), 2 * float(single), rel_tol=_LINEAR)
        expect(is_sum, f"{rig.name}: twice is not the sum of two")


def _doubled(outputs: Outputs) -> Outputs:
    """Taps have their owner's key."""
    others = {
        key.replace(f"{KEY}/", f"{owner}/", 1): tap for owner in ("one", "two") for key, tap in outputs.taps.items()
    }
    return outputs._replace(taps={**outputs.taps, **others})


def wrapped_loss_is_a_scalar(subject: Subject) -> None:
    """A wrapped loss that is not a finite scalar with a gradient, or returns no outputs."""
    for rig in _wrapping(subject):
        params = {name: value.requires_grad_() for name, value in rig.params.items()}
        value, outputs, _ = _wrapped(rig, params)
        expect(isinstance(outputs, Outputs), f"{rig.name}: the wrapped loss returns no Outputs")
        expect(value.ndim == 0 and bool(torch.isfinite(value)), f"{rig.name}: the wrapped loss is {value}")
        grads = torch.autograd.grad(value, list(params.values()), allow_unused=True)
        expect(any(grad is not None and bool((grad != 0).any()) for grad in grads), f"{rig.name}: it has no gradient")


def every_pass_is_taken(subject: Subject) -> None:
    """Declared passes that share one number, and therefore one mask."""
    for rig in _wrapping(subject):
        _, _, numbers = _wrapped(rig, rig.params)
        declared = set(range(rig.functions.passes))
        expect(set(numbers) == declared, f"{rig.name}: it takes the passes {numbers} and declares {len(declared)}")


def _wrapping(subject: Subject) -> Iterator[Rig]:
    for name in networks_of(subject):
        rig = make_rig(subject, name)
        if not overrides(rig.functions, "wrap_loss"):
            raise NotApplicable("it wraps no loss")
        yield rig


def _wrapped(rig: Rig, params: Tensors) -> tuple[Tensor, Outputs, list[int]]:
    numbers: list[int] = []
    step = rig.step(params=params)

    def loss(
        params: Tensors,
        number: int = 0,
        x: Tensor | None = None,
        y: Tensor | None = None,
        buffers: Tensors | None = None,
    ) -> tuple[Tensor, Outputs]:
        numbers.append(number)
        x, y = rig.x() if x is None else x, rig.y() if y is None else y
        outputs = step.run(x=x, params=params, buffers=buffers, number=number)
        return rig.program.mean_loss(step, outputs.logits, y), outputs

    rig.model.train()
    with attempting("the wrapped loss"):
        value, outputs = rig.functions.wrap_loss(step.child(KEY), loss)(params)
    return value, outputs, numbers


CHECKS = (
    penalty_is_a_finite_scalar,
    penalty_is_zero_at_zero,
    penalty_is_linear_in_strength,
    penalty_has_a_gradient,
    penalty_gradient_is_true,
    biases_and_norms_are_spared,
    penalty_writes_nothing,
    negative_strength_is_refused,
    penalties_add_up,
    wrapped_loss_is_a_scalar,
    every_pass_is_taken,
)
