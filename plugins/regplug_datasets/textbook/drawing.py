"""What generated data share: each split is drawn from a stream of its own, so the size of one never moves another."""

from __future__ import annotations

from collections.abc import Callable
from typing import Protocol

from numpy.random import Generator, default_rng

from regplug.api import DataContext, Task
from regplug.data import InputSpec, RawData, Split
from regplug.seeds import derive_seed


class Sizes(Protocol):
    """Parameters that say how many rows each split has."""

    @property
    def train_rows(self) -> int:
        """Rows to train on."""

    @property
    def validation_rows(self) -> int:
        """Rows to validate on; 0 for none."""

    @property
    def test_rows(self) -> int:
        """Rows to test on."""


def draw_splits(
    name: str,
    sizes: Sizes,
    context: DataContext,
    draw: Callable[[str, int, Generator], Split],
    *,
    task: Task,
    inputs: InputSpec,
) -> RawData:
    """Returns data of which each split is drawn by itself.

    Args:
        name: Of the dataset.
        sizes: Rows by split.
        context: Has the data seed.
        draw: Returns so many rows of a split (`train`, `valid` or `test`) from a generator.
        task: What is learned.
        inputs: What one input looks like.
    """

    def split(which: str, rows: int) -> Split:
        return draw(which, rows, default_rng(derive_seed(context.data_seed, name, which)))

    return RawData(
        name=name,
        train=split("train", sizes.train_rows),
        valid=split("valid", sizes.validation_rows) if sizes.validation_rows else None,
        test=split("test", sizes.test_rows),
        task=task,
        inputs=inputs,
        source=f"generated from data seed {context.data_seed}",
    )
