"""A torch program with live dropout, run so that its noise is off, given, or seen: its operators are watched."""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping, Sequence
from typing import Any

import torch
from torch import Tensor
from torch.utils._python_dispatch import TorchDispatchMode

from regplug.bundles.formats import Array, NamedNoiseRuns, NamedRun, NoiseRuns

_DRAWS = torch.ops.aten.rand_like.default
_COMPARES = {torch.ops.aten.ge.Scalar, torch.ops.aten.ge.Tensor}
_PRODUCTS = {torch.ops.aten.mul.Tensor, torch.ops.aten.mul_.Tensor}
_SUMS = {torch.ops.aten.add.Tensor, torch.ops.aten.add_.Tensor}


def noise_runs(run: Callable[[Tensor], Tensor]) -> NoiseRuns:
    """The ways in which a verifier runs a stochastic program.

    Args:
        run: Raw rows to outputs.
    """
    ways = _Ways(lambda rows: _array(run(torch.from_numpy(rows))))
    return NoiseRuns(off=ways.off, given=ways.given, drawn=ways.drawn)


def named_noise_runs(run: NamedRun) -> NamedNoiseRuns:
    """The same for inputs and outputs by name."""
    ways = _Ways(run)
    return NamedNoiseRuns(off=ways.off, given=ways.given, drawn=ways.drawn)


class _Ways:
    """Runs a program while its operators are watched."""

    def __init__(self, run: Callable[[Any], Any]) -> None:
        self._run = run

    def off(self, rows: Any) -> Any:
        with torch.no_grad(), _Off():
            return self._run(rows)

    def given(self, rows: Any, numbers: Sequence[Array]) -> Any:
        with torch.no_grad(), _Given(numbers) as mode:
            outputs = self._run(rows)
        if mode.place != len(numbers):
            raise ValueError(f"it draws {mode.place} times and was given {len(numbers)} masks")
        return outputs

    def drawn(self, rows: Any) -> list[tuple[Array, float]]:
        with torch.no_grad(), _Seen() as mode:
            self._run(rows)
        return [(_array(numbers), mode.rates.get(id(numbers), math.nan)) for numbers in mode.draws]


def _array(tensor: Tensor) -> Array:
    array: Array = tensor.numpy()
    return array


class _Given(TorchDispatchMode):  # type: ignore[no-untyped-call] # of torch
    """Gives numbers in the place of drawn ones, in order."""

    def __init__(self, numbers: Sequence[Array]) -> None:
        super().__init__()  # type: ignore[no-untyped-call] # of torch
        self.numbers, self.place = numbers, 0

    def __torch_dispatch__(self, function: Any, types: Any, args: Any = (), kwargs: Any = None) -> Any:
        if function is not _DRAWS:
            return function(*args, **(kwargs or {}))
        self.place += 1
        if self.place > len(self.numbers):
            raise ValueError(f"it draws more than the {len(self.numbers)} masks that it was given")
        return torch.from_numpy(self.numbers[self.place - 1])


class _Seen(TorchDispatchMode):  # type: ignore[no-untyped-call] # of torch
    """Notes what is drawn, and what it is compared with."""

    def __init__(self) -> None:
        super().__init__()  # type: ignore[no-untyped-call] # of torch
        self.draws: list[Tensor] = []
        self.rates: dict[int, float] = {}

    def __torch_dispatch__(self, function: Any, types: Any, args: Any = (), kwargs: Any = None) -> Any:
        result = function(*args, **(kwargs or {}))
        if function is _DRAWS:
            self.draws.append(result)
        elif function in _COMPARES and any(args[0] is numbers for numbers in self.draws):
            self.rates[id(args[0])] = float(args[1])
        return result


class _Off(TorchDispatchMode):  # type: ignore[no-untyped-call] # of torch
    """Lets pass what noise is multiplied with, or added to."""

    def __init__(self) -> None:
        super().__init__()  # type: ignore[no-untyped-call] # of torch
        # The tensors are kept, so that no other one gets the id of one that is gone.
        self._noise: dict[int, Tensor] = {}

    def __torch_dispatch__(self, function: Any, types: Any, args: Any = (), kwargs: Any = None) -> Any:
        tensors = [value for value in (*args, *(kwargs or {}).values()) if isinstance(value, Tensor)]
        noisy = [value for value in tensors if id(value) in self._noise]
        data = [value for value in tensors if id(value) not in self._noise and value.ndim]
        if noisy and data:
            if function not in _PRODUCTS | _SUMS or len(data) != 1:
                raise ValueError(f"noise takes part in {function}, not in a product or a sum")
            return data[0]
        result = function(*args, **(kwargs or {}))
        if noisy or function is _DRAWS:
            self._noise[id(result)] = result
        return result


def draws_of(manifest: Mapping[str, Any]) -> int:
    """How many places of a bundle's programs draw."""
    part = manifest.get("stochastic")
    return len(part["layers"]) if part else 0
