"""The 400 steps of linear_regression (d = 200, 20 rows, batch 5, 100 epochs), dominated by the cost of the loop.

Every side evaluates validation and test rows after each epoch and the training rows after each fifth.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from torch import nn

from benchmarks.by_hand import train_regression
from benchmarks.measure import Case, Claim, take_turns
from benchmarks.ours import all_epochs, assembled, data_of, trainer_of
from benchmarks.report import Report
from regplug.config import RunConfig
from regplug.data import Prepared

EPOCHS, BATCH_SIZE, LR, STRENGTH = 100, 5, 0.003, 3.0


def config_with(*reg: str, seed: int = 0) -> RunConfig:
    """Returns the benchmark's configuration."""
    return RunConfig(
        model="linear",
        dataset="linear_regression",
        init="normal:std=1",
        loss="half_squared_error",
        reg=reg,
        epochs=EPOCHS,
        batch_size=BATCH_SIZE,
        lr=LR,
        seed=seed,
        export=False,
    )


def by_hand(data: Prepared, **parts: float) -> Callable[[], Callable[[], Any]]:
    """Prepares the hand-written training."""

    def prepare() -> Callable[[], Any]:
        net = nn.Linear(200, 1)
        nn.init.normal_(net.weight)
        nn.init.zeros_(net.bias)
        return lambda: train_regression(net, data, epochs=EPOCHS, batch_size=BATCH_SIZE, lr=LR, **parts)

    return prepare


def bench(repeats: int) -> Report:
    """Times it without and with the l2 penalty."""
    data = data_of(config_with())

    def ours(*reg: str) -> Callable[[], Callable[[], Any]]:
        return lambda: all_epochs(trainer_of(assembled(config_with(*reg), data)))

    cases = [
        Case(name="regplug", prepare=ours()),
        Case(name="by hand", prepare=by_hand(data)),
        Case(name="regplug, l2", prepare=ours(f"l2:strength={STRENGTH}")),
        Case(name="by hand, l2", prepare=by_hand(data, strength=STRENGTH), note="penalty in the loss"),
        Case(name="by hand, weight_decay", prepare=by_hand(data, weight_decay=STRENGTH), note="the optimizer's own"),
    ]
    claims = [
        Claim(case="regplug", over="by hand", limit=1.2),
        Claim(case="regplug, l2", over="by hand, l2", limit=1.2),
        Claim(case="regplug, l2", over="by hand, weight_decay"),
    ]
    return Report(name="run-small", timings=take_turns(cases, repeats), claims=claims)
