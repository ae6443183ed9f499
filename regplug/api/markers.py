"""`hookimpl`, the words that descriptors use, and the markers of parameters."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal, get_args

import pluggy

PROJECT = "regplug"
"""Name of the pluggy project and of the entry-point group."""

hookimpl = pluggy.HookimplMarker(PROJECT)

Phase = Literal[
    "structure", "noise", "state", "data", "objective", "gradient", "optimizer", "weights", "epoch", "finish"
]
"""The phases of a run in which a regularizer can act, in order."""

TaskKind = Literal["classification", "regression", "multilabel"]
"""What a dataset asks for: one class for each row, numbers, or several labels for each row that are 0 or 1."""

ALL_TASKS: tuple[TaskKind, ...] = get_args(TaskKind)

Layout = Literal["image", "row", "array"]
"""Layout of one input: `(channels, height, width)`, `(features,)`, or any other shape, such as `(time, features)`."""


@dataclass(frozen=True)
class Stackable:
    """Marks a number that may differ between the runs of one stack.

    The component must then read it from `step.settings`, never from its parameters.

    Args:
        off: The value at which the component has no effect, or `None`. Runs without the component are listed with this
            value, so that the columns of a comparison line up.
    """

    off: float | None = None


@dataclass(frozen=True)
class Schedulable:
    """Marks a number that may change over a run: `A..B` (linear), `A..B@cosine`, `A..B@step`.

    The component must then read it from `step.settings`, never from its parameters.
    """


@dataclass(frozen=True, kw_only=True)
class Search:
    """Marks the range in which a search varies a number.

    Args:
        low: Smallest value, included.
        high: Largest value, included.
        log: Whether to search on a logarithmic scale; `low` must then be positive.
    """

    low: float
    high: float
    log: bool = False


@dataclass(frozen=True)
class Needed:
    """Marks a required parameter, whose default only means "not given".

    Args:
        example: A value as it is typed, for messages.
        artifact: What a test must make before it can give the value: `bundle`, the folder of a network that was trained
            on the same rows and exported; empty for nothing.
    """

    example: str
    artifact: Literal["", "bundle"] = ""


@dataclass(frozen=True)
class InputFile:
    """Marks the path of a file or folder that must exist before the run starts."""


@dataclass(frozen=True)
class NoParams:
    """The parameters of a component that has none."""
