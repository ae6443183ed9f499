"""Effective weights: what a parametrized layer computes with, from the tensors of one run and back."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor, nn
from torch.func import functional_call

from regplug.regularization.layers import Pass, current_pass
from regplug.regularizer import Step, Tensors

_SHRUNK = 0.75
"""A weight is tried at this share of itself: a parametrization that fixes its size does not give it back."""


@dataclass(frozen=True)
class Effective:
    """One parametrized weight: how it is computed from its originals, and back.

    Args:
        name: The weight's name in the model.
        originals: Names of the trained tensors that it is computed from.
        others: Names of the further parameters and buffers of its parametrization.
        prefix: What these names begin with.
        parametrization: torch's list of parametrizations.
    """

    name: str
    originals: tuple[str, ...]
    others: tuple[str, ...]
    prefix: str
    parametrization: nn.Module

    @property
    def kind(self) -> str:
        """The parametrizations' class names."""
        return " and ".join(type(module).__name__.strip("_") for module in self.parametrization.children())

    def value(self, params: Tensors, buffers: Tensors, step: Step) -> Tensor:
        """The weight as in evaluation: nothing is drawn and no buffer moves.

        Args:
            params: Name -> parameter.
            buffers: Name -> buffer.
            step: The composition's step, whose settings a layer may read.
        """
        names = [name for name in (*self.originals, *self.others) if name in params or name in buffers]
        # Copies of buffers, because a graph holds them and the next pass writes to them.
        tensors = {name: params[name] if name in params else buffers[name].clone() for name in names}
        own = {name.removeprefix(self.prefix): value for name, value in tensors.items()}
        with _evaluating(self.parametrization, step):
            return functional_call(self.parametrization, own, ())  # type: ignore[no-any-return]

    def inverse(self, value: Tensor) -> dict[str, Tensor]:
        """The originals from which the parametrization computes this value."""
        originals: Any = value
        for module in reversed(list(self.parametrization.children())):
            right_inverse: Callable[[Any], Any] = module.right_inverse  # type: ignore[assignment]
            originals = right_inverse(originals)
        values = originals if isinstance(originals, tuple | list) else (originals,)
        return dict(zip(self.originals, values, strict=True))

    @torch.no_grad()
    def can_be_set(self, params: Tensors, buffers: Tensors, step: Step) -> bool:
        """Whether `inverse` gives a value back: tried with a smaller weight."""
        wanted = _SHRUNK * self.value(params, buffers, step)
        try:
            again = self.value({**params, **self.inverse(wanted)}, buffers, step)
        except (NotImplementedError, AttributeError):
            return False
        return torch.allclose(again, wanted, rtol=1e-4, atol=1e-6)


def find_effective(model: nn.Module, params: Tensors) -> tuple[Effective, ...]:
    """The parametrized weights of a model whose originals are trained."""
    return tuple(each for each in _parametrized(model) if all(name in params for name in each.originals))


def _parametrized(model: nn.Module) -> Iterator[Effective]:
    for prefix, module in model.named_modules():
        for name, parametrization in getattr(module, "parametrizations", {}).items():
            path = f"{prefix}.{name}" if prefix else name
            inner = f"{prefix}.parametrizations.{name}." if prefix else f"parametrizations.{name}."
            own = [f"{inner}{n}" for n, _ in parametrization.named_parameters(recurse=False)]
            originals = tuple(n for n in own if n.removeprefix(inner).startswith("original"))
            tensors = [*parametrization.named_parameters(), *parametrization.named_buffers()]
            others = tuple(f"{inner}{n}" for n, _ in tensors if f"{inner}{n}" not in originals)
            yield Effective(path, originals, others, inner, parametrization)


@contextmanager
def _evaluating(parametrization: nn.Module, step: Step) -> Iterator[None]:
    """Puts the parametrization alone into evaluation mode, within a pass of the step."""
    modes = [(module, module.training) for module in parametrization.modules()]
    parametrization.eval()
    token = current_pass.set(Pass(step, 0))
    try:
        yield
    finally:
        current_pass.reset(token)
        for module, mode in modes:
            module.training = mode
