"""How the functions of one run are applied: as they are, or over a stack."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor


@dataclass(frozen=True)
class Lift:
    """One run, or many stacked.

    Args:
        runs: How many runs are stacked; `None` for one run without a leading axis.
    """

    runs: int | None

    @property
    def lead(self) -> int:
        """Number of leading axes of every tensor that differs between runs."""
        return 0 if self.runs is None else 1

    def __call__(self, function: Callable[..., Any], in_dims: tuple[int | None, ...] | int = 0) -> Callable[..., Any]:
        """Lifts a function of one run; an argument whose axis is `None` is shared by all runs."""
        if self.runs is None:
            return function
        # Noise comes in as an argument; a function that draws its own must fail rather than share it.
        return torch.func.vmap(function, in_dims=in_dims, randomness="error")

    def numbers(self, values: Tensor | float) -> list[float]:
        """One Python number for each run."""
        flat = torch.as_tensor(values).detach().to("cpu", torch.float64)
        return [float(v) for v in flat.expand(self.runs or 1).reshape(-1)] if flat.ndim == 0 else flat.tolist()
