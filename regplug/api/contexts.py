"""What the host passes to a component when it builds or calls it."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any, Literal

from regplug.api.markers import TaskKind


@dataclass(frozen=True, kw_only=True)
class Task:
    """The task of a dataset.

    Args:
        kind: `classification`: one class for each row; `multilabel`: several labels for each row, each 0 or 1;
            `regression`: numbers.
        num_outputs: Classes of a classification, labels, or columns of a regression target.
        class_names: One name for each class or label; empty for a regression.
    """

    kind: TaskKind
    num_outputs: int
    class_names: tuple[str, ...] = ()

    @property
    def is_classification(self) -> bool:
        """Whether each row has one class; not for several labels."""
        return self.kind == "classification"

    @property
    def is_multilabel(self) -> bool:
        """Whether each row has several labels, each 0 or 1."""
        return self.kind == "multilabel"

    @property
    def words(self) -> str:
        """The kind of task, for messages."""
        return "multilabel classification" if self.is_multilabel else self.kind


@dataclass(frozen=True, kw_only=True)
class Feature:
    """The columns of a row that are one column of the user's table.

    Args:
        name: Of the user's column.
        kind: `category`: one column for each category and one for all others, of which one is 1 and the others are 0;
            `number`: the number, and where cells were empty an indicator.
        start: First column.
        stop: The column after the last one.
    """

    name: str
    kind: Literal["number", "category"]
    start: int
    stop: int


@dataclass(frozen=True, kw_only=True)
class ModelContext:
    """The context in which a model is built.

    Args:
        input_shape: Shape of one normalised input without the batch axis: `(features,)`, `(channels, height, width)` or
            `(time, features)`.
        task: The task; the model returns `(batch, task.num_outputs)` logits or values.
        activation: Returns a new module of the chosen activation at each call; `None` if the user chose none, so that
            the model uses its own default.
        features: Which columns of a row belong together, so that a model may embed a category; empty if every column
            is a feature of its own.
    """

    input_shape: tuple[int, ...]
    task: Task
    activation: Callable[[], Any] | None = None
    features: tuple[Feature, ...] = ()


@dataclass(frozen=True, kw_only=True)
class DataContext:
    """The context in which a dataset is read or generated.

    Args:
        data_seed: Seed of the split, and of generated data.
    """

    data_seed: int = 0


@dataclass(slots=True)  # not frozen: one is created for each step, and a frozen one takes three times as long
class ScheduleStep:
    """The read-only argument of a schedule: one step. Warm-up steps do not count.

    Args:
        index: Steps done before this one.
        count: Total number of steps, at least one.
        steps_per_epoch: Steps per epoch.
    """

    index: int
    count: int
    steps_per_epoch: int

    @property
    def epoch(self) -> int:
        """Epochs done before this step."""
        return self.index // self.steps_per_epoch
