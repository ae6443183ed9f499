"""The gradient, optimizer and weights phases: what happens between two batches."""

from __future__ import annotations

from collections.abc import Callable, Iterator

import torch
from torch import Tensor

from regplug.regularization.composition import overrides
from regplug.regularizer import Step, Tensors
from regplug.testing.building import make_rig, networks_of
from regplug.testing.checking import NotApplicable, attempting, expect
from regplug.testing.generators import generators_untouched
from regplug.testing.rig import Rig
from regplug.testing.subject import Subject
from regplug.testing.tags import PENALISES_BIASES
from regplug.testing.trainings import same_bits, worst_difference
from regplug.testing.values import off_values

_ROUNDING = 1e-6


def _rigs(subject: Subject, *functions: str, **values: object) -> Iterator[Rig]:
    for name in networks_of(subject):
        rig = make_rig(subject, name, values=values)
        if not any(overrides(rig.functions, function) for function in functions):
            raise NotApplicable(f"it has no function `{' or `'.join(functions)}`")
        yield rig


def _tensors(rig: Rig, scale: float, seed: int = 3) -> dict[str, Tensor]:
    generator = torch.Generator().manual_seed(seed)
    return {
        name: scale * torch.randn(value.shape, generator=generator, dtype=value.dtype)
        for name, value in rig.params.items()
    }


Phase = Callable[[Rig, Step, Tensors, Tensors], Tensors]
"""`phase(rig, step, params, grads) -> what it made of the gradients or the parameters`."""


def _gradients(rig: Rig, step: Step, params: Tensors, grads: Tensors) -> Tensors:
    return rig.functions.gradients(step, params, grads)[0]


def _perturb(rig: Rig, step: Step, params: Tensors, grads: Tensors) -> Tensors:
    point = rig.functions.perturb(step, params, grads)
    return params if point is None else point


def _after_step(rig: Rig, step: Step, params: Tensors, grads: Tensors) -> Tensors:  # noqa: ARG001 - one shape for all
    return rig.functions.after_step(step, params)[0]


def _project(rig: Rig, step: Step, params: Tensors, grads: Tensors) -> Tensors:  # noqa: ARG001 - one shape for all
    return {name: rig.functions.project(step, name, value) for name, value in params.items()}


def _weights(rig: Rig, params: Tensors) -> Tensors:
    """What decay and projection receive: effective weights, each a separate tensor."""
    return {name: value.detach().clone() for name, value in rig.weights(params).items()}


_GRADIENT_PHASES: dict[str, Phase] = {"gradients": _gradients, "perturb": _perturb}
_WEIGHT_PHASES: dict[str, Phase] = {"after_step": _after_step, "project": _project}


def _given(rig: Rig, name: str, params: Tensors) -> Tensors:
    return _weights(rig, params) if name == "project" else params


def _each(subject: Subject, phases: dict[str, Phase], **values: object) -> Iterator[tuple[Rig, str, Phase]]:
    for rig in _rigs(subject, *phases, **values):
        for name, phase in phases.items():
            if overrides(rig.functions, name):
                yield rig, name, phase


def _keeps_shapes(subject: Subject, phases: dict[str, Phase]) -> None:
    for rig, name, phase in _each(subject, phases):
        for scale in (1.0, 0.0, 1e6):
            grads, params = _tensors(rig, scale), _given(rig, name, rig.params)
            with torch.no_grad(), attempting(name):
                made = phase(rig, rig.own_step(), params, grads)
            expect(
                set(made) == set(params), f"{rig.name}: {name} returns other names: {sorted(set(made) ^ set(params))}"
            )
            for key, value in made.items():
                like = value.shape == params[key].shape and value.dtype == params[key].dtype
                expect(like, f"{rig.name}: {name} makes {key} {value.dtype} {tuple(value.shape)}")
                finite = bool(torch.isfinite(value).all())
                expect(finite, f"{rig.name}: {name} makes {key} NaN or infinite at gradients of size {scale:g}")


def _writes_nothing(subject: Subject, phases: dict[str, Phase]) -> None:
    for rig, name, phase in _each(subject, phases):
        # Great weights: a bound has something to do.
        params, grads = _given(rig, name, _tensors(rig, 5.0, seed=4)), _tensors(rig, 1.0)
        step = rig.own_step()
        kept = [*params.values(), *grads.values(), *step.state.values()]
        before = [value.clone() for value in kept]
        with torch.no_grad(), generators_untouched(name), attempting(name):
            phase(rig, step, params, grads)
        expect(same_bits(before, kept), f"{rig.name}: {name} wrote to what it was given")


def gradients_keep_shapes(subject: Subject) -> None:
    """Gradients that are lost, renamed, reshaped, or NaN where all of them are zero or huge."""
    _keeps_shapes(subject, _GRADIENT_PHASES)


def gradients_are_not_written(subject: Subject) -> None:
    """A change of gradients or weights in place: the step would be taken from another point than the host's."""
    _writes_nothing(subject, _GRADIENT_PHASES)


def gradients_are_exact_where_off(subject: Subject) -> None:
    """A change of the gradient that remains where the strength is off."""
    fields = off_values(subject)
    if not fields:
        raise NotApplicable("no parameter declares a value at which it changes nothing: Stackable(off=...)")
    for field, off in fields.items():
        for rig, name, phase in _each(subject, _GRADIENT_PHASES, **{field: off}):
            grads, params = _tensors(rig, 1.0), rig.params
            expected = grads if name == "gradients" else params
            with torch.no_grad():
                made = phase(rig, rig.own_step(), params, grads)
            same = same_bits([made[key] for key in expected], list(expected.values()))
            expect(same, f"{rig.name}: {field}={off} changes what {name} returns")


def decay_is_a_strength(subject: Subject) -> None:
    """A decay that is negative, NaN, of another shape, or no tensor: the host multiplies with 1 - rate * decay."""
    for rig in _rigs(subject, "decay"):
        for name, value in _weights(rig, rig.params).items():
            with attempting("decay"):
                strength = rig.functions.decay(rig.own_step(), name, value)
            if strength is None:
                continue
            expect(isinstance(strength, Tensor), f"{rig.name}: the decay of {name} is a {type(strength).__name__}")
            one = strength.ndim == 0 or strength.shape == value.shape
            expect(one, f"{rig.name}: the decay of {name} has the shape {tuple(strength.shape)}")
            good = bool(torch.isfinite(strength).all()) and bool((strength >= 0).all())
            expect(good, f"{rig.name}: the decay of {name} is {strength.flatten()[:3].tolist()}")


def decay_spares_biases_and_norms(subject: Subject) -> None:
    """Decay of biases and normalization parameters, which nobody means by weight decay, unless its tag says so."""
    if PENALISES_BIASES in subject.component.tags:
        raise NotApplicable(f"it has the tag {PENALISES_BIASES}")
    for rig in _rigs(subject, "decay"):
        for name, value in _weights(rig, rig.params).items():
            if rig.program.roles.get(name, "weight") in ("bias", "norm"):
                strength = rig.functions.decay(rig.own_step(), name, value)
                spared = strength is None or not bool((strength != 0).any())
                expect(spared, f"{rig.name}: {name}, a {rig.program.roles[name]}, decays")


def weights_keep_shapes(subject: Subject) -> None:
    """Weights that are lost, reshaped or NaN after the phase."""
    _keeps_shapes(subject, _WEIGHT_PHASES)


def weights_are_not_written(subject: Subject) -> None:
    """A change in place: in a frozen run of a stack it could not be undone."""
    _writes_nothing(subject, _WEIGHT_PHASES)


def projecting_twice_is_projecting_once(subject: Subject) -> None:
    """A projection that goes on moving weights which are allowed already."""
    for rig in _rigs(subject, "project"):
        for scale in (0.1, 1.0, 100.0):
            step = rig.own_step()
            once = _project(rig, step, _weights(rig, _tensors(rig, scale)), {})
            twice = _project(rig, step, once, {})
            gap = worst_difference(list(twice.values()), list(once.values()))
            expect(gap < _ROUNDING, f"{rig.name}: a second projection moves a weight by {gap:.3g} of its size")


GRADIENT_CHECKS = (gradients_keep_shapes, gradients_are_not_written, gradients_are_exact_where_off)
OPTIMIZER_CHECKS = (decay_is_a_strength, decay_spares_biases_and_norms)
WEIGHT_CHECKS = (weights_keep_shapes, weights_are_not_written, projecting_twice_is_projecting_once)
