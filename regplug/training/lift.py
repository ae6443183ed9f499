"""How the functions of one run are applied: as they are, or over a stack."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping
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
        """Lifts a function of one run; an argument whose axis is `None` is shared by all runs.

        Arguments and results are tensors, or mappings and tuples of such.
        """
        return function if self.runs is None else _Lifted(function, in_dims)

    def numbers(self, values: Tensor | float) -> list[float]:
        """One Python number for each run."""
        flat = torch.as_tensor(values).detach().to("cpu", torch.float64)
        return [float(v) for v in flat.expand(self.runs or 1).reshape(-1)] if flat.ndim == 0 else flat.tolist()


class _Lifted:
    """`torch.func.vmap` of a function of nested tensors.

    vmap gets the tensors alone, in one flat row: to walk nested arguments and to broadcast their axes in torch's pytree
    costs more than a small network.
    """

    def __init__(self, function: Callable[..., Any], in_dims: tuple[int | None, ...] | int) -> None:
        self._function, self._in_dims = function, in_dims
        self._args: tuple[Any, ...] = ()
        self._result: Any = None
        # Noise comes in as an argument; a function that draws its own must fail rather than share it.
        self._vmapped = torch.func.vmap(self._of_row, randomness="error")

    def __call__(self, *args: Any) -> Any:
        row: list[Tensor] = []
        for arg, is_shared in zip(args, self._shared(args), strict=True):
            if not is_shared:
                _collect(arg, row)
        self._args = args
        try:
            results = self._vmapped(*row)
            return _rebuilt(self._result, iter(results))
        finally:
            self._args, self._result = (), None

    def _of_row(self, *row: Tensor) -> tuple[Tensor, ...]:
        given = iter(row)
        shared = self._shared(self._args)
        self._result = self._function(
            *(arg if is_shared else _rebuilt(arg, given) for arg, is_shared in zip(self._args, shared, strict=True))
        )
        results: list[Tensor] = []
        _collect(self._result, results)
        return tuple(results)

    def _shared(self, args: tuple[Any, ...]) -> tuple[bool, ...]:
        dims = self._in_dims
        return (False,) * len(args) if isinstance(dims, int) else tuple(axis is None for axis in dims)


def _collect(nested: Any, row: list[Tensor]) -> None:
    """Appends the tensors of a nested value, in its order."""
    if isinstance(nested, Tensor):
        row.append(nested)
    else:
        for value in nested.values() if isinstance(nested, Mapping) else nested:
            _collect(value, row)


def _rebuilt(nested: Any, row: Iterator[Tensor]) -> Any:
    """The same nesting with the next tensors of the row in the places of its own."""
    if isinstance(nested, Tensor):
        return next(row)
    if isinstance(nested, Mapping):
        return {name: _rebuilt(value, row) for name, value in nested.items()}
    return tuple(_rebuilt(value, row) for value in nested)
