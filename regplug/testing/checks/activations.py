"""Activations: elementwise functions with a declared derivative, range and kinks."""

from __future__ import annotations

import copy
import math
from typing import Any

import torch
from torch import Tensor, nn

from regplug.api import Activation
from regplug.errors import PluginError
from regplug.registry import Registered, load_target
from regplug.testing.checking import NotApplicable, attempting, expect
from regplug.testing.generators import generators_untouched
from regplug.testing.subject import Subject

EXTREMES = (88.8, 200.0, 1e4)
"""Where exp overflows float32, where exp(-x) is gone, and far out."""

_NEAR = 1e-6
_LEAST_JUMP = 1e-3


def _module(subject: Subject) -> nn.Module:
    module = subject.build()
    expect(isinstance(module, nn.Module), f"it is a {type(module).__name__}, but must be a torch.nn.Module")
    return module  # type: ignore[no-any-return] # looked at above


def _values(module: nn.Module, points: Tensor) -> tuple[Tensor, Tensor]:
    """Values and, by autograd, derivatives at these points."""
    x = points.clone().requires_grad_()
    module = module.to(points.dtype)
    with attempting("the activation"):
        y = module(x)
        (slope,) = torch.autograd.grad(y.sum(), x)
    return y.detach(), slope


def _grid(low: float = -8.0, high: float = 8.0, number: int = 16001) -> Tensor:
    # Off the round numbers, where kinks are.
    return torch.linspace(low, high, number, dtype=torch.float64) + 1e-5 * math.pi


def _seeded() -> torch.Generator:
    return torch.Generator().manual_seed(0)


def acts_on_each_entry_alone(subject: Subject) -> None:
    """A function that depends on neighbouring entries, such as softmax, is not an activation."""
    module, x = _module(subject).double(), torch.randn(5, 7, dtype=torch.float64, generator=_seeded())
    with attempting("the activation"), torch.no_grad():
        whole = module(x)
        expect(whole.shape == x.shape, f"the shape {tuple(x.shape)} becomes {tuple(whole.shape)}")
        each = torch.stack([module(entry.view(1)).view(()) for entry in x.flatten()]).view(5, 7)
        turned = module(x.T.contiguous()).T
    expect(torch.allclose(whole, each, rtol=1e-12), "an entry's value depends on other entries")
    expect(torch.allclose(whole, turned, rtol=1e-12), "an entry's value depends on its position")


def keeps_dtype_and_input(subject: Subject) -> None:
    """A change of number format, or an activation in place that overwrites what the layer before it still needs."""
    for dtype in (torch.float32, torch.float64):
        module, x = _module(subject).to(dtype), torch.linspace(-2, 2, 9, dtype=dtype)
        before = x.clone()
        with attempting("the activation"), torch.no_grad(), generators_untouched("the activation"):
            output = module(x)
        expect(output.dtype == dtype, f"{dtype} becomes {output.dtype}")
        expect(torch.equal(x, before), "it writes to its input")


def is_the_same_in_training(subject: Subject) -> None:
    """An activation that is random in training (RReLU) is a regularizer in disguise."""
    module, x = _module(subject), torch.linspace(-2, 2, 9)
    with attempting("the activation"), torch.no_grad():
        outputs = [module.train()(x), module.train()(x), module.eval()(x)]
    expect(torch.equal(outputs[0], outputs[1]), "two calls in training give two results")
    expect(torch.equal(outputs[0], outputs[2]), "training and evaluation give two results")


def is_finite_far_out(subject: Subject) -> None:
    """An exponential that overflows: a bound may keep the value finite while the gradient is NaN."""
    points = torch.tensor([sign * x for x in EXTREMES for sign in (-1, 1)])
    for dtype in (torch.float32, torch.float64):
        y, slope = _values(_module(subject), points.to(dtype))
        for what, values in (("value", y), ("gradient", slope)):
            bad = points[~torch.isfinite(values)]
            expect(not len(bad), f"the {what} at {[round(float(x), 1) for x in bad]} is not finite in {dtype}")


def declared_derivative_is_true(subject: Subject) -> None:
    """A declared derivative that differs from the function's."""
    declared = subject.descriptor(Activation).derivative
    if not declared:
        raise NotApplicable("it declares no derivative")
    function = _derivative(subject, declared)
    points = torch.cat([_grid(number=401), torch.tensor([30.0, -30.0], dtype=torch.float64)])
    kinks = torch.tensor(subject.descriptor(Activation).kinks, dtype=torch.float64)
    if len(kinks):
        points = points[(points[:, None] - kinks).abs().min(1).values > _NEAR]
    _, slope = _values(_module(subject), points)
    with attempting("the declared derivative"):
        claimed = function(subject.params(), points)
    expect(claimed.shape == points.shape, f"the derivative of {tuple(points.shape)} is {tuple(claimed.shape)}")
    gap = (claimed - slope).abs()
    worst = int(gap.argmax())
    told = (
        f"at {float(points[worst]):.4g} it is {float(claimed[worst]):.6g}, and autograd's is {float(slope[worst]):.6g}"
    )
    expect(float(gap.max()) < 1e-7, told)


def _derivative(subject: Subject, target: str) -> Any:
    import dataclasses  # only where there is one

    registered = subject.registered
    component = dataclasses.replace(registered.component, target=target)
    try:
        return load_target(Registered(component=component, origin=registered.origin))
    except PluginError as error:
        expect(False, f"the derivative {target} cannot be imported: {error.message}")


def range_is_true(subject: Subject) -> None:
    """A declared range that values exceed, or never come close to."""
    declared = subject.descriptor(Activation).range
    if declared is None:
        raise NotApplicable("it declares no range")
    low, high = declared
    far = torch.tensor([*EXTREMES, 20.0, 40.0], dtype=torch.float64)
    y, _ = _values(_module(subject), torch.cat([_grid(), far, -far]))
    least, greatest = float(y.min()), float(y.max())
    # Six digits of a bound are enough.
    is_within = least >= low - 1e-6 * (1 + abs(least)) and greatest <= high + 1e-6 * (1 + abs(greatest))
    expect(is_within, f"values run from {least:.7g} to {greatest:.7g}")
    for bound, reached in ((low, -least), (high, greatest)):
        near = reached > 10 if math.isinf(bound) else abs(abs(bound) - abs(reached)) < 1e-3 * (1 + abs(bound))
        expect(near, f"the declared bound {bound:g} is not come near: values run from {least:.6g} to {greatest:.6g}")


def kinks_are_true(subject: Subject) -> None:
    """An undeclared jump of the derivative, or a declared one that does not exist; checks of gradients avoid kinks."""
    module, declared = _module(subject), subject.descriptor(Activation).kinks
    for kink in declared:
        _, slopes = _values(module, torch.tensor([kink - _NEAR, kink + _NEAR], dtype=torch.float64))
        expect(float((slopes[1] - slopes[0]).abs()) > _LEAST_JUMP, f"the derivative does not jump at {kink:g}")
    points = _grid()
    _, slopes = _values(module, points)
    step = float(points[1] - points[0])
    for index in ((slopes[1:] - slopes[:-1]).abs() > _LEAST_JUMP).nonzero().flatten().tolist():
        at = _jump(module, float(points[index]), float(points[index + 1]))
        is_known = at is None or any(abs(at - kink) < step for kink in declared)
        expect(is_known, f"the derivative jumps at {at or 0.0:.6g}, which is not a declared kink")


def _jump(module: nn.Module, left: float, right: float) -> float | None:
    """Where between two points the derivative jumps; `None` where it is only steep."""
    for _ in range(30):
        middle = (left + right) / 2
        _, (a, b, c) = _values(module, torch.tensor([left, middle, right], dtype=torch.float64))
        left, right = (left, middle) if abs(float(b - a)) > abs(float(c - b)) else (middle, right)
    _, (a, c) = _values(module, torch.tensor([left, right], dtype=torch.float64))
    return (left + right) / 2 if abs(float(c - a)) > _LEAST_JUMP / 2 else None


def gain_is_true(subject: Subject) -> None:
    """A gain that does not keep the mean square of standard normal numbers."""
    declared = subject.descriptor(Activation).gain
    if declared is None:
        raise NotApplicable("it declares no gain")
    points = torch.linspace(-12, 12, 240001, dtype=torch.float64)
    with attempting("the activation"), torch.no_grad():
        squares = _module(subject).double()(points).square()
    density = torch.exp(-points.square() / 2) / math.sqrt(2 * math.pi)
    gain = float((squares * density).sum() * (points[1] - points[0])) ** -0.5
    expect(abs(declared - gain) < 1e-4 * gain, f"the gain is {declared:g}, and 1 / sqrt(E f(z)^2) is {gain:.6f}")


def each_call_makes_a_module(subject: Subject) -> None:
    """One module for all layers: sites and hooks could not tell its calls apart, and its parameters would be shared."""
    one, two = _module(subject), _module(subject)
    expect(one is not two, "two calls return the same module")
    with attempting("copying it"):
        copy.deepcopy(one)


CHECKS = (
    acts_on_each_entry_alone,
    keeps_dtype_and_input,
    is_the_same_in_training,
    is_finite_far_out,
    declared_derivative_is_true,
    range_is_true,
    kinks_are_true,
    gain_is_true,
    each_call_makes_a_module,
)
