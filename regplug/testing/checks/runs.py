"""Whole runs of a regularizer: alone, off, stacked, resumed and interrupted."""

from __future__ import annotations

import io
from collections.abc import Sequence
from typing import Any

import torch
from torch import nn

from regplug.api import Felt, Regularizer
from regplug.registry.usercode import derive_phases
from regplug.regularization.composition import overrides
from regplug.regularization.signatures import require_signatures
from regplug.regularizer import Notice, RegularizerFunctions, RunContext
from regplug.sites import current_pass
from regplug.testing import bench
from regplug.testing.building import few_networks_of, make_rig, networks_of
from regplug.testing.checking import NotApplicable, attempting, expect
from regplug.testing.generators import expect_generators, seeded_globally, state_of_generators
from regplug.testing.rig import Rig
from regplug.testing.subject import Subject
from regplug.testing.tags import STOCHASTIC
from regplug.testing.trainings import (
    EPOCHS,
    EPOCHS_UNTIL_WORSE,
    Run,
    learned,
    make_trainer,
    same_bits,
    shared_out,
    train,
    trained,
    trained_once,
    trainer_of,
    worst_difference,
)
from regplug.testing.values import off_values
from regplug.training.loop import Trainer

_BROKEN_AT = 5
"""The forward pass in training that raises: in the middle of the second epoch, where each step makes one."""


_ROUNDING = 1e-9


class _BrokenOffError(Exception):
    """Raised by the kit in the middle of a run."""


def is_a_regularizer(subject: Subject) -> None:
    """A target that returns something else, or whose functions are misspelt or take other arguments."""
    functions = subject.build()
    expect(isinstance(functions, RegularizerFunctions), "it is not a regplug.regularizer.RegularizerFunctions")
    with attempting("reading its functions"):
        require_signatures(functions, subject.component.name)


def composition_is_judged(subject: Subject) -> None:
    """A `check` that raises, or yields something other than notices, so that every run with the component fails."""
    task = bench.TASKS[subject.descriptor(Regularizer).tasks[0]]
    for is_there in (True, False):
        context = RunContext(
            tags={"another": frozenset({"penalty", STOCHASTIC})} if is_there else {},
            params={"another": subject.params()} if is_there else {},
            model="mlp",
            activation="relu" if is_there else "",
            optimizer="adam",
            batch_size=bench.BATCH,
            epochs=10,
            train_rows=bench.TRAIN_ROWS,
            task=task,
            has_validation=is_there,
            has_batch_norm=is_there,
            batch_norm_after=is_there,
        )
        with attempting("check"):
            notices = list(subject.build().check(context))
        good = all(isinstance(notice, Notice) and notice.kind in ("refuse", "warn") for notice in notices)
        expect(good, f"check yielded {notices}, but must yield regplug.regularizer.Notice objects")


def takes_your_own_networks(subject: Subject) -> None:
    """A network of the author's own that the regularizer refuses: no other check is made on it."""
    if not subject.networks:
        raise NotApplicable("no network of your own was given")
    networks_of(subject)
    refused = {name: why for name, why in subject.cache["refusals"].items() if name in subject.networks}
    if refused:
        raise NotApplicable("; ".join(f"it refuses {name}: {why}" for name, why in refused.items()))


def trains_and_repeats(subject: Subject) -> None:
    """A run that depends on the state of global generators cannot be repeated."""
    for name in networks_of(subject):
        with seeded_globally(1):
            once = trained_once(subject, Run(), name)
        expect(all(torch.isfinite(value).all() for value in once), f"{name}: a short run ends in NaN or infinity")
        if name in few_networks_of(subject):
            with seeded_globally(2):
                again = trained(subject, name=name)
            expect(same_bits(once, again), f"{name}: the same run ends in other weights")


def off_changes_no_bit(subject: Subject) -> None:
    """A value declared as off that has an effect: a sweep's zero would differ from the run without the component.

    Ignores running statistics if it makes more than one pass per step, because each pass changes them. A wrapped loss
    may differ by rounding, because the gradients of two passes add up in another order.
    """
    fields = off_values(subject)
    if not fields:
        raise NotApplicable("no parameter declares a value at which it changes nothing: Stackable(off=...)")
    for name in networks_of(subject):
        plain = _without(subject, name)
        for field, off in fields.items():
            rig = make_rig(subject, name, values={field: off})
            groups = 1 if rig.functions.passes > 1 else 2
            for had, got in zip(plain[:groups], _weights_and_buffers(rig)[:groups], strict=True):
                pair = list(had.values()), [got[key] for key in had if key in got]
                same = same_bits(*pair)
                if not same and len(pair[0]) == len(pair[1]) and overrides(rig.functions, "wrap_loss"):
                    same = worst_difference(*pair) < _ROUNDING
                expect(same, f"{name}: {field}={off} is not the run without it")


_Ended = tuple[dict[str, torch.Tensor], dict[str, torch.Tensor]]
_BARE: dict[tuple[str, str], _Ended] = {}
"""What the kit's own networks end with by themselves: the same for every component."""


def _without(subject: Subject, name: str) -> _Ended:
    """What a run without the component ends with."""
    descriptor = subject.descriptor(Regularizer)
    if descriptor.requires or descriptor.felt != Felt() or name in subject.networks:
        return _weights_and_buffers(make_rig(subject, name, left_out=True))
    key = name, descriptor.tasks[0]
    if key not in _BARE:
        _BARE[key] = _weights_and_buffers(make_rig(subject, name, left_out=True))
    return _BARE[key]


def _weights_and_buffers(rig: Rig) -> _Ended:
    """Effective weights and buffers that a run ends with, by name: a parametrized weight as the network has it."""
    params, buffers = train(trainer_of([rig])).tensors_of(0)
    return {name: value.detach() for name, value in rig.weights(params).items()}, buffers


def effect_is_felt(subject: Subject) -> None:
    """A regularizer that changes nothing, or `felt.values` at which it does not: such training proves nothing.

    It must change a network that a run ends with or, where it acts only in evaluation, the outputs. One that acts
    between epochs may need a validation loss that rises, so it is also trained until that happens.
    """
    regularizer = subject.build()
    if not derive_phases(type(regularizer)):
        raise NotApplicable("it overrides no function and is neutral")
    lengths = (EPOCHS, EPOCHS_UNTIL_WORSE) if overrides(regularizer, "after_epoch") else (EPOCHS,)
    changed = any(_is_changing(subject, name, epochs) for epochs in lengths for name in networks_of(subject))
    expect(
        changed,
        "at its felt values a short run ends with the same networks as without it, and evaluates the same ones; "
        "declare felt=Felt(values=...)",
    )


def _is_changing(subject: Subject, name: str, epochs: int) -> bool:
    """Whether a run differs from the one without the regularizer, in tensors that both have or in their outputs."""
    with_it, without = (
        train(make_trainer(subject, [Run(left_out=is_out)], name=name, epochs=epochs)) for is_out in (False, True)
    )
    networks = [[{**params, **buffers} for params, buffers in one.networks_of(0)] for one in (with_it, without)]
    if len(networks[0]) != len(networks[1]):
        return True
    both = ((own.get(key), value) for own, plain in zip(*networks, strict=True) for key, value in plain.items())
    is_same = all(torch.equal(own, value) for own, value in both if own is not None)
    return not is_same or not torch.equal(with_it.outputs("test"), without.outputs("test"))


def goes_on_after_any_epoch(subject: Subject) -> None:
    """State in the object instead of in `state`: a resumed run would differ."""
    for name, stop in shared_out(networks_of(subject), range(1, EPOCHS + 1)):
        expected = trained(subject, name=name, epochs=EPOCHS + 1)
        continued = _continued(subject, name, stop)
        expect(same_bits(expected, continued), f"{name}: stopped after epoch {stop}, it ends in other weights")


def _continued(subject: Subject, name: str, stop: int) -> list[torch.Tensor]:
    first = make_trainer(subject, name=name, epochs=EPOCHS + 1)
    with attempting("training"):
        for record in first.train():
            if record.epoch == stop:
                break
    file = io.BytesIO()
    torch.save(first.state.to_dict(), file)
    file.seek(0)
    second = make_trainer(subject, name=name, epochs=EPOCHS + 1)
    with attempting("loading the state with weights_only"):
        second.state.load_dict(torch.load(file, weights_only=True))
    return learned(train(second))


def breaking_off_leaves_no_trace(subject: Subject) -> None:
    """Modes or generators that stay changed after an exception or an interruption in the middle of a run."""
    for name in networks_of(subject):
        rig = make_rig(subject, name)
        trainer, model = trainer_of([rig]), rig.model
        _break_off(model)
        model.train()
        before, passing = state_of_generators(), current_pass.get()
        modes = {module: module.training for module in model.modules()}
        try:
            for _ in trainer.train():
                pass
        except _BrokenOffError:
            pass
        else:
            expect(False, f"{name}: an exception in the forward pass was swallowed")
        changed = [type(module).__name__ for module, mode in modes.items() if module.training != mode]
        expect(not changed, f"{name}: the mode of {', '.join(changed)} is another one after an exception")
        expect_generators(before, f"{name}: a run that was broken off")
        expect(current_pass.get() is passing and torch.is_grad_enabled(), f"{name}: a setting of torch stays changed")


def _break_off(model: nn.Module) -> None:
    calls = 0

    def count(*_: Any) -> None:
        nonlocal calls
        calls += model.training
        if calls >= _BROKEN_AT:
            raise _BrokenOffError

    model.register_forward_pre_hook(count)


def stacked_is_alone(subject: Subject) -> None:
    """Runs of a stack that mix, share noise, or branch on values: each must equal the same run alone."""
    if not subject.descriptor(Regularizer).stackable:
        raise NotApplicable("it declares not to be stackable")
    runs = [Run(seed=seed, rate=rate) for seed, rate in enumerate((0.1, 0.2, 0.05))]
    compare_stacked(subject, runs, networks_of(subject), "seeds and rates")


def compare_stacked(subject: Subject, runs: Sequence[Run], names: Sequence[str], what: str) -> None:
    """Compares each run of a stack with the same run alone, on some network, to 1e-8 of a tensor's largest entry."""
    stacks: dict[str, Trainer] = {}
    for name, (number, run) in shared_out(names, list(enumerate(runs))):
        if name not in stacks:
            stacks[name] = train(make_trainer(subject, runs, stacked=True, name=name))
        together, alone = learned(stacks[name], number), trained_once(subject, run, name)
        expect(len(together) == len(alone), f"{name}: stacked, run {number} ends with another number of networks")
        gap = worst_difference(together, alone)
        expect(
            gap < 1e-8, f"{name}: stacked over different {what}, run {number} differs from itself alone by {gap:.3g}"
        )


CHECKS = (
    is_a_regularizer,
    composition_is_judged,
    takes_your_own_networks,
    trains_and_repeats,
    off_changes_no_bit,
    effect_is_felt,
    goes_on_after_any_epoch,
    breaking_off_leaves_no_trace,
    stacked_is_alone,
)
