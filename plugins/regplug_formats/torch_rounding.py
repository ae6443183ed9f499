"""A torch program run so that the result of every operator is moved by its last bits."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import torch
from torch import Tensor
from torch.utils._python_dispatch import TorchDispatchMode

from regplug.bundles.formats import Array, Run


def perturbed_run(run: Callable[[Tensor], Tensor], seed: int) -> Run:
    """Raw rows to the outputs of a program whose operators round otherwise.

    Args:
        run: Raw rows to outputs.
        seed: Of the last bits.
    """

    def perturbed(rows: Array) -> Array:
        with torch.no_grad(), _Rounds(seed):
            outputs: Array = run(torch.from_numpy(rows)).numpy()
        return outputs

    return perturbed


class _Rounds(TorchDispatchMode):  # type: ignore[no-untyped-call] # of torch
    """Moves each new tensor of floats by up to one unit in the last place; views stay what they are."""

    def __init__(self, seed: int) -> None:
        super().__init__()  # type: ignore[no-untyped-call] # of torch
        self._generator = torch.Generator().manual_seed(seed)

    def __torch_dispatch__(self, function: Any, types: Any, args: Any = (), kwargs: Any = None) -> Any:
        result = function(*args, **(kwargs or {}))
        if any(returned.alias_info is not None for returned in function._schema.returns):
            return result
        return self._moved(result) if isinstance(result, Tensor) and result.dtype == torch.float32 else result

    def _moved(self, result: Tensor) -> Tensor:
        shares = 2 * torch.rand(result.shape, generator=self._generator) - 1
        return result * (1 + torch.finfo(torch.float32).eps * shares)
