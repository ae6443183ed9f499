"""32 runs of 64-64-10 with batch norm and dropout on digits, batch 64, in a stack against one by one.

Also 32 runs of 784-256-256-10 on 10,000 MNIST images, batch 256, where stacking saves little or nothing: the plan
measures and chooses, and must not be slower than one by one.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from benchmarks.by_hand import perceptron, train_classifier
from benchmarks.measure import Case, Claim, Timing, take_turns
from benchmarks.ours import all_epochs, assembled, data_of, trainer_of, with_settings
from benchmarks.report import Report
from regplug.config import RunConfig
from regplug.data import Prepared
from regplug.registry import default_registry
from regplug.studies.design.config import StudyConfig
from regplug.studies.design.points import points_of
from regplug.studies.stacks.grouping import group_points
from regplug.studies.stacks.running import Chunks, GroupRunner
from regplug.studies.stacks.study_data import StudyData

SEEDS, RATES, ALONE = 8, (0.0, 0.2, 0.4, 0.6), 4
EPOCHS, BATCH_SIZE, LR = 10, 64, 0.1
LARGE_TURNS, NOISE = 3, 0.95
"""Turns of the large runs, one epoch each; and the share of the speed one by one that counts as not slower."""


def config_of(seed: int = 0) -> RunConfig:
    """Returns the benchmark's configuration."""
    return RunConfig(
        model="mlp:hidden=[64]",
        dataset="digits",
        reg=("batchnorm", "dropout:drop_probability=0.2"),
        epochs=EPOCHS,
        batch_size=BATCH_SIZE,
        lr=LR,
        seed=seed,
        export=False,
    )


def stack(data: Prepared) -> Callable[[], Any]:
    """Prepares the 32 runs; the timed part stacks and trains them."""
    seeds = [assembled(config_of(seed), data) for seed in range(SEEDS)]
    runs = [with_settings(made.inputs, {"dropout": {"drop_probability": rate}}) for made in seeds for rate in RATES]
    return lambda: all_epochs(trainer_of(seeds[0], runs))()


def bench(repeats: int) -> Report:
    """Times the stack, and four runs each way one after the other."""
    data = data_of(config_of())

    def singles() -> Callable[[], Any]:
        trainers = [trainer_of(assembled(config_of(seed), data)) for seed in range(ALONE)]
        return lambda: [all_epochs(trainer)() for trainer in trainers]

    def hands() -> Callable[[], Any]:
        nets = [perceptron((64, 64, 10), (0.2,), norm=True) for _ in range(ALONE)]
        return lambda: [train_classifier(net, data, epochs=EPOCHS, batch_size=BATCH_SIZE, lr=LR) for net in nets]

    cases = [
        Case(name="32 runs stacked", prepare=lambda: stack(data)),
        Case(name="4 runs of regplug", prepare=singles),
        Case(name="4 runs by hand", prepare=hands),
    ]
    times = SEEDS * len(RATES) / ALONE
    claims = [
        Claim(case="4 runs of regplug", over="32 runs stacked", limit=3, side="at least", times=times),
        Claim(case="4 runs by hand", over="32 runs stacked", limit=3, side="at least", times=times),
        Claim(case="8 large runs, one by one", over="32 large runs, as planned", limit=NOISE, side="at least", times=4),
    ]
    timings = take_turns(cases, repeats)
    large, plan = _large(min(repeats, LARGE_TURNS))
    facts = [f"large runs, stacks of {sorted(set(plan.sizes))}; {plan.why}"]
    return Report(name="sweep-mlp", timings=timings | large, claims=claims, facts=facts)


def _large(repeats: int) -> tuple[dict[str, Timing], Chunks]:
    planned, alone = _large_runner(seeds=8), _large_runner(seeds=2)
    plan = planned.chunks()
    cases = [
        Case(name="32 large runs, as planned", prepare=lambda: lambda: list(planned.run(plan)), note="784-256-256-10"),
        Case(
            name="8 large runs, one by one",
            prepare=lambda: lambda: list(alone.run(Chunks(sizes=(1,) * 8, why="asked for"))),
        ),
    ]
    return take_turns(cases, repeats), plan


def _large_runner(seeds: int) -> GroupRunner:
    base = RunConfig(
        model="mlp:hidden=[256,256]",
        dataset="mnist:train_rows=10000",
        reg=("l2:strength=0",),
        epochs=1,
        batch_size=256,
        lr=LR,
        export=False,
    )
    study, registry = (
        StudyConfig(base=base, grid=("reg.l2.strength=0,1e-4,1e-3,1e-2",), seeds=seeds),
        default_registry(),
    )
    data_of = StudyData(study, registry)
    (group,) = group_points(points_of(study, registry), data_of)
    return GroupRunner(group, data_of)
