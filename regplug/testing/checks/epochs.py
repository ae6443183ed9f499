"""The state, epoch and finish phases."""

from __future__ import annotations

from collections.abc import Iterator, Sequence

import torch
from torch import Tensor

from regplug.regularization.composition import overrides
from regplug.regularizer import EpochEnd, Member, Step, Tensors
from regplug.testing import bench
from regplug.testing.building import make_rig, networks_of
from regplug.testing.checking import NotApplicable, attempting, expect
from regplug.testing.generators import generators_untouched
from regplug.testing.rig import KEY, Rig
from regplug.testing.subject import Subject
from regplug.testing.trainings import learned, same_bits, train, trainer_of, worst_difference
from regplug.training.loop import Trainer

_ROUNDING = 1e-6
LOSSES = (1.0, 0.5, 0.8, 0.9, float("nan"))
"""Validation losses of successive epochs."""


def _rigs(subject: Subject, *functions: str) -> Iterator[Rig]:
    for name in networks_of(subject):
        rig = make_rig(subject, name)
        if not any(overrides(rig.functions, function) for function in functions):
            raise NotApplicable(f"it has no function `{'` or `'.join(functions)}`")
        yield rig


def _metrics(loss: float) -> dict[str, Tensor]:
    value = torch.tensor(loss, dtype=torch.float64)
    names = ("train/objective", "train/running_loss", "valid/loss", "test/loss")
    return {**dict.fromkeys(names, value), "valid/accuracy": torch.tensor(0.5, dtype=torch.float64)}


def _epochs(rig: Rig) -> Iterator[tuple[Tensors, Tensors, EpochEnd]]:
    """Yields parameters, the state before, and the result of each of some epochs."""
    params, buffers = rig.params, rig.buffers
    state: Tensors = rig.initial_state()
    for epoch, loss in enumerate(LOSSES, start=1):
        step = rig.own_step({}, epoch=epoch, state=state)
        with torch.no_grad(), attempting("after_epoch"):
            end = rig.functions.after_epoch(step, _metrics(loss), params, buffers)
        yield params, state, end
        state = end.state
        params = {name: 0.9 * value for name, value in end.params.items()}


def state_is_made_of_tensors(subject: Subject) -> None:
    """State that is not a tensor, or shares memory with the parameters, cannot be saved, stacked or frozen."""
    for rig in _rigs(subject, "init"):
        params, buffers = rig.params, rig.buffers
        with attempting("init"), generators_untouched("init"):
            state = rig.initial_state(params, buffers)
        shared = {value.data_ptr() for value in (*params.values(), *buffers.values()) if value.numel()}
        for name, value in state.items():
            expect(isinstance(value, Tensor), f"{rig.name}: the state {name} is a {type(value).__name__}")
            expect(value.data_ptr() not in shared, f"{rig.name}: the state {name} is a parameter itself; clone it")


def state_keeps_its_shape(subject: Subject) -> None:
    """State whose names, shapes or dtypes change, which a resumed run or a stack cannot hold."""
    for rig in _rigs(subject, "after_epoch", "after_step", "gradients"):
        if overrides(rig.functions, "after_epoch"):
            for _, before, end in _epochs(rig):
                expect(isinstance(end, EpochEnd), f"{rig.name}: after_epoch returns a {type(end).__name__}")
                _expect_state(rig, "after_epoch", end.state, before)
        step, params = rig.own_step(), rig.params
        with torch.no_grad():
            if overrides(rig.functions, "after_step"):
                with attempting("after_step"):
                    _, state = rig.functions.after_step(step, params)
                _expect_state(rig, "after_step", state, step.state)
            if overrides(rig.functions, "gradients"):
                with attempting("gradients"):
                    _, state = rig.functions.gradients(step, params, params)
                _expect_state(rig, "gradients", state, step.state)


def _expect_state(rig: Rig, function: str, state: Tensors, before: Tensors) -> None:
    expect(set(state) == set(before), f"{rig.name}: {function} changes the names of the state")
    for name, value in state.items():
        like = value.shape == before[name].shape and value.dtype == before[name].dtype
        expect(like, f"{rig.name}: {function} makes the state {name} {value.dtype} {tuple(value.shape)}")


def stop_is_a_truth_and_scale_a_number(subject: Subject) -> None:
    """A `stop` that is not a boolean scalar, or a factor on the learning rate that is zero, negative or NaN."""
    for rig in _rigs(subject, "after_epoch"):
        for _, _, end in _epochs(rig):
            if end.stop is not None:
                is_truth = isinstance(end.stop, Tensor) and end.stop.ndim == 0 and end.stop.dtype == torch.bool
                expect(is_truth, f"{rig.name}: stop is {end.stop!r}")
            if end.rate_scale is not None:
                good = isinstance(end.rate_scale, Tensor) and end.rate_scale.ndim == 0 and bool(end.rate_scale > 0)
                expect(good, f"{rig.name}: rate_scale is {end.rate_scale!r}")


def epoch_end_writes_nothing(subject: Subject) -> None:
    """An in-place change of parameters, buffers or state: stopped runs could not be frozen."""
    for rig in _rigs(subject, "after_epoch"):
        params, buffers = rig.params, rig.buffers
        state = rig.initial_state(params, buffers)
        kept = [*params.values(), *buffers.values(), *state.values()]
        before = [value.clone() for value in kept]
        with torch.no_grad(), attempting("after_epoch"), generators_untouched("after_epoch"):
            rig.functions.after_epoch(rig.own_step({}, epoch=9, state=state), _metrics(0.5), params, buffers)
        expect(same_bits(before, kept), f"{rig.name}: after_epoch wrote to its arguments")


def evaluated_is_like_the_network(subject: Subject) -> None:
    """Evaluated weights that do not fit the network, or that overwrite the trained ones."""
    for rig in _rigs(subject, "evaluated"):
        for params, _, end in _epochs(rig):
            own = rig.buffers
            before = [value.clone() for value in (*params.values(), *own.values())]
            with torch.no_grad(), attempting("evaluated"):
                seen, buffers = rig.functions.evaluated(rig.own_step(state=end.state, params=params), params, own)
            same = same_bits(before, [*params.values(), *own.values()])
            expect(same, f"{rig.name}: evaluated wrote to the trained weights or their buffers")
            expect(set(seen) == set(params) and set(buffers) == set(own), f"{rig.name}: other names are evaluated")
            for name, value in {**seen, **buffers}.items():
                like = value.shape == {**params, **own}[name].shape
                expect(like, f"{rig.name}: {name} is evaluated as {tuple(value.shape)}")


def statistics_belong_to_the_weights(subject: Subject) -> None:
    """Averaged weights with the batch statistics of the trained ones: a network that nobody has trained."""
    for rig in _rigs(subject, "evaluated", "finalize"):
        if not bench.has_batch_norm(rig.model):
            continue
        trainer = train(trainer_of([rig]), finish=False)
        params, buffers = trainer.tensors_of(0)
        params, buffers = ({n: v.detach().clone() for n, v in own.items()} for own in (params, buffers))
        step = rig.step(state=_own_state(trainer), params=params)
        for function, members in _ends(rig, step, params, buffers):
            for seen, held in members:
                _expect_statistics(rig, function, step, (params, buffers), (seen, held))


def _own_state(trainer: Trainer) -> dict[str, Tensor]:
    prefix = f"{KEY}/"
    return {n.removeprefix(prefix): v for n, v in trainer.state.regularizer.items() if n.startswith(prefix)}


def _ends(rig: Rig, step: Step, params: Tensors, buffers: Tensors) -> Iterator[tuple[str, Sequence[Member]]]:
    """By function: the networks that a regularizer ends with, or has evaluated."""
    own = step.child(KEY)
    with torch.no_grad():
        if overrides(rig.functions, "evaluated"):
            with attempting("evaluated"):
                yield "evaluated", [rig.functions.evaluated(own, params, buffers)]
        if overrides(rig.functions, "finalize"):
            with attempting("finalize"):
                made = rig.functions.finalize(own, params, buffers, [step])
            yield "finalize", [made] if isinstance(made, tuple) else list(made)


def _expect_statistics(rig: Rig, function: str, step: Step, trained: Member, ended: Member) -> None:
    moved = any(not torch.equal(value, trained[0][name]) for name, value in ended[0].items())
    if not moved or not same_bits(list(trained[1].values()), list(ended[1].values())):
        return
    with torch.no_grad():
        statistics = [step.recompute_statistics(params, trained[1], [step]) for params in (trained[0], ended[0])]
    gap = worst_difference(*(list(own.values()) for own in statistics))
    expect(
        gap < _ROUNDING,
        f"{rig.name}: {function} returns other weights with the statistics of the trained ones; "
        "see step.recompute_statistics",
    )


def members_are_networks(subject: Subject) -> None:
    """A network to end with that is no pair of all parameters and all buffers, or holds NaN; no network at all."""
    for rig in _rigs(subject, "finalize"):
        params, buffers = rig.params, rig.buffers
        kept = [*params.values(), *buffers.values()]
        before = [value.clone() for value in kept]
        step = rig.step(params=params)
        for _, members in _ends(rig, step, params, buffers):
            expect(members, f"{rig.name}: finalize returns no network")
            for member in members:
                is_pair = isinstance(member, tuple) and len(member) == 2
                expect(is_pair, f"{rig.name}: finalize returns a {type(member).__name__}, and not (params, buffers)")
                for what, own, all_ in zip(("parameters", "buffers"), member, (params, buffers), strict=True):
                    names = sorted(set(own) ^ set(all_))
                    expect(not names, f"{rig.name}: finalize returns other {what}: {', '.join(names)}")
                    for name, value in own.items():
                        good = value.shape == all_[name].shape and bool(torch.isfinite(value).all())
                        expect(good, f"{rig.name}: finalize makes {name} {tuple(value.shape)}, or not finite")
        expect(same_bits(before, kept), f"{rig.name}: finalize wrote to what it was given")


def finishing_twice_is_finishing_once(subject: Subject) -> None:
    """A `finalize` that is not idempotent: a run that is resumed at its end would change."""
    for name in networks_of(subject):
        rig = make_rig(subject, name)
        if not rig.program.regularizer.acting("finalize"):
            raise NotApplicable("it has no function `finalize`")
        trainer = trainer_of([rig])
        once = learned(train(trainer))
        with attempting("finishing a second time"):
            trainer.finish()
        expect(same_bits(once, learned(trainer)), f"{name}: a second finish changes the weights")


CHECKS = (
    state_is_made_of_tensors,
    state_keeps_its_shape,
    stop_is_a_truth_and_scale_a_number,
    epoch_end_writes_nothing,
    evaluated_is_like_the_network,
    statistics_belong_to_the_weights,
    members_are_networks,
    finishing_twice_is_finishing_once,
)
