"""One epoch of 784-256-256-10 with dropout .2 and .5, batch 256, on MNIST's 60,000 images, with evaluation.

Every side accumulates loss and accuracy of the epoch and evaluates the 10,000 test images at its end.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from benchmarks.by_hand import perceptron, train_classifier
from benchmarks.measure import Case, Claim, take_turns
from benchmarks.ours import assembled, data_of, one_epoch
from benchmarks.report import Report
from benchmarks.textbook import Pictures, train_epoch
from regplug.config import RunConfig
from regplug.data import Prepared

WIDTHS = (784, 256, 256, 10)
DROP = (0.2, 0.5)
BATCH_SIZE, LR = 256, 0.5


def config_with(*more: str, drop: bool = True) -> RunConfig:
    """Returns the benchmark's configuration with further regularizers."""
    reg = ("dropout:drop_probability=[0.2,0.5]", *more) if drop else more
    return RunConfig(
        model="mlp:hidden=[256,256]", dataset="mnist", reg=reg, epochs=1, batch_size=BATCH_SIZE, lr=LR, export=False
    )


def ours(data: Prepared, *more: str, drop: bool = True) -> Callable[[], Callable[[], Any]]:
    """Prepares regplug's epoch."""
    return lambda: one_epoch(assembled(config_with(*more, drop=drop), data))


def by_hand(data: Prepared, *, drop: bool = True, **parts: Any) -> Callable[[], Callable[[], Any]]:
    """Prepares the hand-written epoch; it does not evaluate the training rows either."""

    def prepare() -> Callable[[], Any]:
        net = perceptron(WIDTHS, DROP if drop else ())
        # The only epoch is also the last one, in which a longer training would evaluate the training rows.
        return lambda: train_classifier(net, data, epochs=1, batch_size=BATCH_SIZE, lr=LR, clean_every=0, **parts)

    return prepare


def bench(repeats: int) -> Report:
    """Times regplug, the hand-written loop and the textbook's."""
    data = data_of(config_with())
    train, test = Pictures(data.raw.train), Pictures(data.raw.test)

    def textbook() -> Callable[[], Any]:
        net = perceptron(WIDTHS, DROP)
        return lambda: train_epoch(net, train, test, batch_size=BATCH_SIZE, lr=LR)

    cases = [
        Case(name="regplug", prepare=ours(data)),
        Case(name="by hand", prepare=by_hand(data), note="tensors in memory, nn.Dropout, torch.optim.SGD"),
        Case(name="textbook", prepare=textbook, note="DataLoader with a transform for each sample"),
    ]
    claims = [
        Claim(case="regplug", over="by hand", limit=1.0, aim=0.8),
        Claim(case="textbook", over="regplug", limit=4.0, side="at least"),
    ]
    return Report(name="run-mlp", timings=take_turns(cases, repeats), claims=claims)
