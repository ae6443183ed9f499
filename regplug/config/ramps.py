"""Numbers that change over a run: `A..B`, `A..B@cosine`, `A..B@step`."""

from __future__ import annotations

import math
import re
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any

SHAPES: Mapping[str, Callable[[float], float]] = {
    "linear": lambda t: t,
    "cosine": lambda t: (1 - math.cos(math.pi * t)) / 2,
    "step": lambda t: float(t >= 0.5),
}
"""Shape -> share of the way from the first to the last value, at a share `t` of the run in [0, 1]. `step` jumps in the
middle of the run."""

_EXPONENT = r"(?:[eE][+-]?\d+)?"
# The dots between are two and no more: `1...2` could be read in two ways.
_RAMP = re.compile(rf"([+-]?(?:\d+(?:\.\d+)?|\.\d+){_EXPONENT})\.\.([+-]?\d+\.?\d*{_EXPONENT})(?:@(\w+))?")


@dataclass(frozen=True)
class Ramp:
    """A number that goes from a first to a last value over a run.

    Args:
        first: Value at the first step.
        last: Value at the last step.
        shape: One of `SHAPES`.
    """

    first: float
    last: float
    shape: str = "linear"

    def __str__(self) -> str:
        return f"{self.first!r}..{self.last!r}" + ("" if self.shape == "linear" else f"@{self.shape}")

    def share(self, index: int, count: int) -> float:
        """Returns the progress at a step.

        Args:
            index: Steps done before.
            count: Steps of the whole run.
        """
        return SHAPES[self.shape](min(1.0, index / max(1, count - 1)))


def read_ramp(text: str) -> Ramp | None:
    """Returns the ramp written in a text, or `None` if it is not one; the shape is not checked.

    >>> str(read_ramp("0..1e-3@cosine"))
    '0.0..0.001@cosine'
    """
    found = _RAMP.fullmatch(text.strip())
    return None if found is None else Ramp(float(found[1]), float(found[2]), found[3] or "linear")


def first_value(value: Any) -> Any:
    """Returns a number at the first step."""
    return value.first if isinstance(value, Ramp) else value


def last_value(value: Any) -> Any:
    """Returns a number at the last step."""
    return value.last if isinstance(value, Ramp) else value
