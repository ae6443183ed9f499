"""Applies the functions of one run: directly, or to all runs of a stack."""

from __future__ import annotations

import functools
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from itertools import repeat
from typing import Any

import torch
import torch._C._functorch as functorch
import torch.nn.functional as F
from torch import Tensor
from torch.nn.attention import SDPBackend, sdpa_kernel
from torch.overrides import TorchFunctionMode

_CALLS = ("_vmap_increment_nesting", "_vmap_decrement_nesting", "_add_batch_dim", "_remove_batch_dim")
_HAS_CALLS = all(hasattr(functorch, name) for name in _CALLS)
"""Whether torch has the calls that `torch.func.vmap` makes: they are not public, and a later torch may differ."""


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

    def of_run(self, nested: Any, run: int) -> Any:
        """Returns one run's part of nested mappings of tensors, as views."""
        if isinstance(nested, Tensor):
            return nested if self.runs is None else nested[run]
        return {name: self.of_run(each, run) for name, each in nested.items()}

    def numbers(self, values: Tensor | float) -> list[float]:
        """One Python number for each run."""
        if self.runs is None:
            return [float(values)]
        flat = torch.as_tensor(values).detach().to("cpu", torch.float64)
        return flat.expand(self.runs).tolist()


class _Lifted:
    """`torch.func.vmap` of a function of nested tensors.

    vmap gets only the tensors, as a flat sequence: walking nested arguments and broadcasting their axes in torch's
    pytree costs more than a small network.
    """

    def __init__(self, function: Callable[..., Any], in_dims: tuple[int | None, ...] | int) -> None:
        self._function = function
        self._shared = None if isinstance(in_dims, int) else tuple(axis is None for axis in in_dims)
        self._args: tuple[Any, ...] = ()
        self._result: Any = None
        self._has_shared = self._shared is not None and any(self._shared)

    def __call__(self, *args: Any) -> Any:
        row: list[Tensor] = []
        for arg, is_shared in zip(args, self._shared or repeat(False), strict=self._shared is not None):
            if not is_shared:
                _collect(arg, row)
        self._args = args
        try:
            results = over_runs(self._of_row, row)
            return _rebuilt(self._result, iter(results))
        finally:
            self._args, self._result = (), None

    def _of_row(self, *row: Tensor) -> list[Tensor]:
        given, shared = iter(row), self._shared or repeat(False)
        own = [arg if one else _rebuilt(arg, given) for arg, one in zip(self._args, shared, strict=False)]
        with _Kernels(shared_rows=self._has_shared):
            self._result = self._function(*own)
        results: list[Tensor] = []
        _collect(self._result, results)
        return results


class _Kernels(TorchFunctionMode):
    """Replaces operations that vmap computes badly in a stack.

    vmap has no rules for fused attention and for weight norm, which it would compute run by run, with a warning, and
    none for what torch's spectral norm writes with `out=`.
    vmap turns `F.linear` into one matrix product per run, and copies shared rows for each run. With one output the sum
    and its gradient cost half, and a product with a vector is one product for all runs. Without a gradient, and when
    each run has its own rows, the products are faster.

    Args:
        shared_rows: Whether the runs compute on the same rows.
    """

    def __init__(self, *, shared_rows: bool) -> None:
        super().__init__()
        self._shared_rows = shared_rows

    def __torch_function__(
        self, func: Any, types: Any, args: tuple[Any, ...] = (), kwargs: dict[str, Any] | None = None
    ) -> Any:
        if func is F.linear:
            is_column = not kwargs and args[1].shape[0] == 1
            if is_column and (self._shared_rows or torch.is_grad_enabled()):
                return self._column(*args)
        elif func in _WITH_RULES:
            return _WITH_RULES[func](*args, **(kwargs or {}))
        elif func is F.scaled_dot_product_attention or func is F.multi_head_attention_forward:
            with sdpa_kernel(SDPBackend.MATH):
                return func(*args, **(kwargs or {}))
        return func(*args, **(kwargs or {}))

    def _column(self, x: Tensor, weight: Tensor, bias: Tensor | None = None) -> Tensor:
        column = (x @ weight[0]).unsqueeze(-1) if self._shared_rows else (x * weight).sum(-1, keepdim=True)
        return column if bias is None else column + bias


def _norm_except_dim(v: Tensor, power: float = 2, dim: int = 0) -> Tensor:
    """`torch.norm_except_dim`: with dim -1 the norm of the whole weight."""
    axes = [axis for axis in range(v.ndim) if axis != dim] if dim != -1 else None
    norm: Tensor = torch.linalg.vector_norm(v, power, dim=axes, keepdim=dim != -1)
    return norm


def _weight_norm(v: Tensor, g: Tensor, dim: int = 0) -> Tensor:
    """`torch._weight_norm`: `g * v / |v|`."""
    return v * (g / _norm_except_dim(v, 2, dim))


def _normalize(x: Tensor, *args: Any, out: Tensor | None = None, **kwargs: Any) -> Tensor:
    """`F.normalize`; torch's spectral norm writes it into a buffer."""
    value = F.normalize(x, *args, **kwargs)
    return value if out is None else out.copy_(value)


_WITH_RULES: Mapping[Any, Callable[..., Tensor]] = {
    torch._weight_norm: _weight_norm,
    torch.norm_except_dim: _norm_except_dim,
    F.normalize: _normalize,
}
"""Functions without a rule for vmap -> the same in functions that have one."""


def over_runs(function: Callable[..., Sequence[Tensor]], row: Sequence[Tensor]) -> Sequence[Tensor]:
    """`torch.func.vmap(function, randomness="error")(*row)`, by the calls that it makes once its arguments are sorted.

    Noise comes in as an argument; a function that draws its own must fail rather than share it.
    """
    if not _HAS_CALLS:
        return torch.func.vmap(lambda *own: tuple(function(*own)), randomness="error")(*row)
    _load_rules()
    runs = len(row[0])
    level = functorch._vmap_increment_nesting(runs, "error")
    try:
        results = function(*[functorch._add_batch_dim(tensor, 0, level) for tensor in row])
        return [functorch._remove_batch_dim(result, level, runs, 0) for result in results]
    finally:
        functorch._vmap_decrement_nesting()


@functools.cache
def _load_rules() -> None:
    """Calls vmap once: its first call loads rules without which a loss of classes is computed run by run."""
    torch.func.vmap(torch.neg)(torch.zeros(1))


def _collect(nested: Any, row: list[Tensor]) -> None:
    """Appends the tensors of a nested value, in its order."""
    if isinstance(nested, Tensor):
        row.append(nested)
        return
    for value in nested.values() if _is_mapping(nested) else nested:
        if isinstance(value, Tensor):
            row.append(value)
        else:
            _collect(value, row)


def _rebuilt(nested: Any, row: Iterator[Tensor]) -> Any:
    """The same nesting with its tensors replaced by the next ones of the sequence."""
    if isinstance(nested, Tensor):
        return next(row)
    if _is_mapping(nested):
        return {
            name: next(row) if isinstance(value, Tensor) else _rebuilt(value, row) for name, value in nested.items()
        }
    return tuple(_rebuilt(value, row) for value in nested)


def _is_mapping(nested: Any) -> bool:
    # Compares the type itself: isinstance with the abstract class costs more than everything else here.
    return type(nested) is dict or isinstance(nested, Mapping)
