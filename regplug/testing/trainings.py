"""Short trainings of the kit: one run, three alone, three stacked."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any, TypeVar

import torch
from torch import Tensor

from regplug.optimizers import OptimizerState, UpdateRule, UpdateStep, subtract_scaled_
from regplug.testing import bench
from regplug.testing.building import make_rig
from regplug.testing.checking import attempting
from regplug.testing.rig import Rig
from regplug.testing.subject import Subject
from regplug.training.course import Course
from regplug.training.loop import Trainer

EPOCHS = 3
EPOCHS_UNTIL_WORSE = 8
"""By then the validation loss has risen on each network of the kit: its targets are random, and can be memorized."""
_LEAST_SCALE = 1e-3
"""A bias before a normalization gets only rounding errors as gradient, so its final value is not compared."""


class HeavyBall(UpdateRule):
    """`v = 0.9 * v + g; w = w - rate * v`: the kit's own rule, so that no installed optimizer affects its results."""

    slots = ("velocity",)

    def update_(
        self, params: Sequence[Tensor], grads: Sequence[Tensor], state: OptimizerState, step: UpdateStep
    ) -> None:
        """Moves all parameters."""
        for velocity, grad in zip(state["velocity"], grads, strict=True):
            velocity.mul_(0.9).add_(grad)
        subtract_scaled_(params, state["velocity"], step.rate)


@dataclass(frozen=True, kw_only=True)
class Run:
    """One run of a training.

    Args:
        seed: Of order and noise; the networks of different seeds differ as well.
        rate: Learning rate.
        values: Parameters of the regularizer.
        built_with: Parameters to build it with where they shall not be those of its settings.
        left_out: Whether the run is without the regularizer, and has only what it requires.
    """

    seed: int = 0
    rate: float = 0.1
    values: Mapping[str, Any] = field(default_factory=dict)
    built_with: Mapping[str, Any] | None = None
    left_out: bool = False


def make_trainer(
    subject: Subject | None,
    runs: Sequence[Run] = (Run(),),
    *,
    stacked: bool = False,
    name: str | None = None,
    network: bench.Network | None = None,
    epochs: int = EPOCHS,
    probed: bool = False,
) -> Trainer:
    """A trainer of one run, or of a stack, on the kit's data, with momentum."""
    return trainer_of(
        [
            make_rig(
                subject,
                name,
                seed=run.seed,
                values=run.values,
                built_with=run.built_with,
                left_out=run.left_out,
                network=network,
            )
            for run in runs
        ],
        runs,
        stacked=stacked,
        epochs=epochs,
        probed=probed,
    )


def trainer_of(
    rigs: Sequence[Rig],
    runs: Sequence[Run] = (Run(),),
    *,
    stacked: bool = False,
    epochs: int = EPOCHS,
    probed: bool = False,
) -> Trainer:
    """A trainer of regularizers that are in their networks already, one for each run; see `make_trainer`."""
    first = rigs[0]
    data = first.network.pools(first.task, first.dtype)
    steps = -(-bench.TRAIN_ROWS // bench.BATCH)
    with attempting("preparing a training"):
        return Trainer(
            program=first.program,
            rule=HeavyBall(),
            runs=[rig.run_inputs(run.seed, run.rate) for rig, run in zip(rigs, runs, strict=True)],
            pools=data,
            course=Course(
                epochs=epochs,
                batch_size=bench.BATCH,
                shuffle=True,
                factors=[1.0] * (epochs * steps),
                evaluate_every=epochs,
            ),
            places=first.places,
            stacked=stacked,
            probed=probed,
        )


def train(trainer: Trainer, *, finish: bool = True) -> Trainer:
    """Trains to the end."""
    with attempting("training"):
        for _ in trainer.train():
            pass
        if finish:
            trainer.finish()
    return trainer


def trained(subject: Subject | None, run: Run | None = None, **options: Any) -> list[Tensor]:
    """Returns the final parameters and buffers of one run, in their order."""
    return learned(train(make_trainer(subject, [run or Run()], **options)))


def trained_once(subject: Subject, run: Run, name: str) -> list[Tensor]:
    """Like `trained`, but cached: several checks compare with the same run."""
    key = f"trained {name} {run}"
    if key not in subject.cache:
        subject.cache[key] = trained(subject, run, name=name)
    known: list[Tensor] = subject.cache[key]
    return known


_Item = TypeVar("_Item")


def shared_out(names: Sequence[str], items: Sequence[_Item]) -> Iterator[tuple[str, _Item]]:
    """Pairs of a network and an item: each network meets one at least, and each item a network.

    What costs a training is not tried with every network and every item.
    """
    for index in range(max(len(names), len(items))):
        yield names[index % len(names)], items[index % len(items)]


def learned(trainer: Trainer, run: int = 0) -> list[Tensor]:
    """Parameters and buffers of each network that one run ends with, copied."""
    return [
        value.detach().clone()
        for params, buffers in trainer.networks_of(run)
        for value in (*params.values(), *buffers.values())
    ]


def same_bits(one: Sequence[Tensor], other: Sequence[Tensor]) -> bool:
    """Whether two sequences of tensors are bit-equal; NaN equals NaN."""
    return len(one) == len(other) and all(
        a.shape == b.shape and bool(torch.isclose(a, b, rtol=0, atol=0, equal_nan=True).all())
        for a, b in zip(one, other, strict=True)
    )


def worst_difference(one: Sequence[Tensor], other: Sequence[Tensor]) -> float:
    """The largest difference of two sequences of tensors, relative to the largest entry of each tensor."""
    worst = 0.0
    for a, b in zip(one, other, strict=True):
        if a.numel():
            scale = max(_LEAST_SCALE, float(b.double().abs().max()))
            worst = max(worst, float((a.double() - b.double()).abs().max()) / scale)
    return worst
