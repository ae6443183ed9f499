"""32 runs of 64-64-10 with batch norm and dropout on digits, batch 64, stacked, against one after the other."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from benchmarks.by_hand import perceptron, train_classifier
from benchmarks.measure import Case, Claim, take_turns
from benchmarks.ours import all_epochs, assembled, data_of, trainer_of, with_settings
from benchmarks.report import Report
from regplug.config import RunConfig
from regplug.data import Prepared

SEEDS, RATES, ALONE = 8, (0.0, 0.2, 0.4, 0.6), 4
EPOCHS, BATCH_SIZE, LR = 10, 64, 0.1


def config_of(seed: int = 0) -> RunConfig:
    """The benchmark's configuration."""
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
    ]
    return Report(name="sweep-mlp", timings=take_turns(cases, repeats), claims=claims)
