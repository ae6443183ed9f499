"""Tensors that tell when somebody turns them into a Python number."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from typing import Any

import torch
from torch import Tensor
from torch.overrides import TorchFunctionMode

_CONVERSIONS = frozenset(
    {
        "item",
        "tolist",
        "numpy",
        "__float__",
        "__int__",
        "__bool__",
        "__index__",
        "__format__",
        "__array__",
        "__complex__",
    }
)


class TurnedIntoNumberError(Exception):
    """A watched tensor, or one computed from it, became a Python number."""


def watched(value: Tensor, name: str) -> Tensor:
    """The tensor; it and all that is computed from it raise `TurnedIntoNumberError` where they become numbers.

    Under `torch.func.vmap` the same conversion fails for all runs of a stack, without saying which setting it was.
    """

    class Watched(Tensor):
        @classmethod
        def __torch_function__(
            cls,
            func: Callable[..., Any],
            types: Sequence[type],
            args: tuple[Any, ...] = (),
            kwargs: Mapping[str, Any] | None = None,
        ) -> Any:
            if getattr(func, "__name__", "") in _CONVERSIONS:
                raise TurnedIntoNumberError(name)
            return super().__torch_function__(func, types, args, kwargs or {})  # type: ignore[no-untyped-call] # torch has none

    return value.as_subclass(Watched)


def plain(value: Tensor) -> Tensor:
    """The tensor without its watch."""
    return value.as_subclass(torch.Tensor)


class StopsGradients(TorchFunctionMode):
    """Sees whether a gradient is kept from flowing, by `detach` or `no_grad`.

    Such a function has another numerical derivative than its gradient, and means it.
    """

    seen = False

    def __torch_function__(
        self,
        func: Callable[..., Any],
        types: Sequence[type],
        args: tuple[Any, ...] = (),
        kwargs: Mapping[str, Any] | None = None,
    ) -> Any:
        """Looks at a call and makes it."""
        self.seen |= getattr(func, "__name__", "") in ("detach", "_set_grad_enabled")
        return func(*args, **(kwargs or {}))
