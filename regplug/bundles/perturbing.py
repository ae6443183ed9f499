"""Runs torch code with the last bits of every operator's result changed at random."""

from __future__ import annotations

from typing import Any

import torch
from torch import Tensor
from torch.utils._python_dispatch import TorchDispatchMode


class LastBits(TorchDispatchMode):  # type: ignore[no-untyped-call] # of torch
    """Multiplies each float32 number that an operator returns by 1 + eps * uniform(-1, 1); leaves views unchanged.

    Args:
        seed: Seed of the uniform numbers.

    Source: Parker 1997, Monte Carlo arithmetic.
    """

    def __init__(self, seed: int) -> None:
        super().__init__()  # type: ignore[no-untyped-call] # of torch
        self._generator = torch.Generator().manual_seed(seed)

    def __torch_dispatch__(self, function: Any, types: Any, args: Any = (), kwargs: Any = None) -> Any:
        """Runs an operator and perturbs its results."""
        result = function(*args, **(kwargs or {}))
        if any(returned.alias_info is not None for returned in function._schema.returns):
            return result
        if isinstance(result, tuple):
            return tuple(self._moved(one) for one in result)
        return self._moved(result)

    def _moved(self, result: Any) -> Any:
        if not isinstance(result, Tensor) or result.dtype != torch.float32:
            return result
        shares = 2 * torch.rand(result.shape, generator=self._generator) - 1
        return result * (1 + torch.finfo(torch.float32).eps * shares)
