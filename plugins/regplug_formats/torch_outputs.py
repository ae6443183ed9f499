"""The outputs of a torch program, one or several."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from torch import Tensor


def first_of(answer: Any) -> Tensor:
    """The first output of a program that returns one tensor or several."""
    output: Tensor = answer[0] if isinstance(answer, tuple | list) else answer
    return output


def all_of(answer: Any) -> Sequence[Tensor]:
    """All outputs of a program that returns one tensor or several."""
    return list(answer) if isinstance(answer, tuple | list) else [answer]
