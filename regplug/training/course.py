"""What a training takes and yields: its data, how long it is, and a record of each epoch."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

from regplug.training.state import Pool


@dataclass(frozen=True, kw_only=True)
class Pools:
    """The normalised data of a training; each run takes its own rows of them."""

    train: Pool
    valid: Pool | None = None
    test: Pool | None = None


@dataclass(frozen=True, kw_only=True)
class Course:
    """How long to train and how often to evaluate.

    Args:
        epochs: Epochs of the run.
        batch_size: Rows in a batch; the last one of an epoch may be smaller.
        shuffle: Whether each epoch has an order of its own.
        factors: Factor on the learning rate at each step of the run.
        evaluate_every: Epochs between two evaluations of validation and test split.
        evaluate_train_every: Epochs between two clean evaluations of the training split.
    """

    epochs: int
    batch_size: int
    shuffle: bool
    factors: Sequence[float]
    evaluate_every: int = 1
    evaluate_train_every: int = 5


@dataclass(frozen=True, kw_only=True)
class EpochRecord:
    """The metrics of one epoch, for each run.

    Args:
        epoch: Epochs done, this one included.
        metrics: Name -> one number for each run.
        seconds: How long the epoch took, for all runs together, evaluation included.
        active: Which runs trained in this epoch.
    """

    epoch: int
    metrics: Mapping[str, list[float]]
    seconds: float
    active: list[bool]
