"""Live dropout: replaces torch's dropout modules by the same distribution in plain operators.

A runtime treats its own dropout operator as the identity, so the mask is written out: uniform numbers, compared with
the rate. Entries with u >= p are kept.
"""

from __future__ import annotations

import contextlib
import math
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor, nn

from regplug.errors import RequestError

ALPHA = 1.7580993408473766
"""Minus the value at which SELU saturates; alpha dropout sets dropped entries to that value (Klambauer et al. 2017)."""

CHANNELS = (nn.Dropout1d, nn.Dropout2d, nn.Dropout3d, nn.FeatureAlphaDropout)
KINDS: tuple[type[nn.Module], ...] = (nn.Dropout, nn.AlphaDropout, *CHANNELS)
_ALPHA_KINDS = (nn.AlphaDropout, nn.FeatureAlphaDropout)
_WITHOUT_BATCH = {nn.Dropout1d: 2, nn.Dropout3d: 4}
"""Ranks that torch interprets as one input without a batch axis, so that the first axis is the channels."""


@dataclass(frozen=True, kw_only=True)
class Call:
    """One call of a dropout layer.

    Args:
        name: The layer's name in the network.
        kind: Its class.
        rate: Probability that an entry, or a channel, is dropped.
        mask: Shape of its mask.
    """

    name: str
    kind: str
    rate: float
    mask: tuple[int, ...]


class Noise:
    """The source of the layers' noise: none, torch's generator, or supplied numbers."""

    def __init__(self) -> None:
        self.is_live = False
        self._given: list[Tensor] = []
        self._place = 0
        self._seen: list[Call] | None = None

    @contextlib.contextmanager
    def live(self, given: Sequence[Tensor] = ()) -> Iterator[None]:
        """Activates the layers.

        Args:
            given: Numbers for each call in a forward pass; by default they are drawn.
        """
        self.is_live, self._given, self._place = True, list(given), 0
        try:
            yield
        finally:
            self.is_live, self._given = False, []

    @contextlib.contextmanager
    def watched(self) -> Iterator[list[Call]]:
        """Activates the layers and lists their calls."""
        self._seen = []
        try:
            with self.live():
                yield self._seen
        finally:
            self._seen = None

    def draw(self, like: Tensor, layer: LiveDropout) -> Tensor:
        """Returns uniform numbers with the shape and type of `like`."""
        if self._seen is not None:
            self._seen.append(Call(name=layer.name, kind=layer.kind, rate=layer.rate, mask=tuple(like.shape)))
        if not self._given:
            return torch.rand_like(like)
        given = self._given[self._place]
        # Every forward pass makes the same calls in the same order.
        self._place = (self._place + 1) % len(self._given)
        return given[tuple(slice(size) for size in like.shape)].to(like.dtype)


class LiveDropout(nn.Module):
    """Acts like one of torch's dropout modules in training, whatever its mode; the identity while its noise is off.

    Args:
        module: One of `KINDS`.
        name: Its name in the network.
        noise: The source of its noise.
    """

    def __init__(self, module: Any, name: str, noise: Noise) -> None:
        super().__init__()
        self.name, self.rate, self.noise = name, float(module.p), noise
        self.base = next(kind for kind in KINDS if isinstance(module, kind))
        self.kind, self.is_inplace = type(module).__name__, bool(module.inplace)
        # The module's hooks are checked and removed like every other hook.
        self._forward_pre_hooks.update(module._forward_pre_hooks)
        self._forward_hooks.update(module._forward_hooks)

    def forward(self, x: Tensor) -> Tensor:
        """Takes any shape that torch's module takes; drops each entry or channel with probability `rate`."""
        if not self.noise.is_live or self.rate == 0:
            return x
        kept = (self.noise.draw(self._like(x), self) >= self.rate).to(x.dtype)
        dropped = self._alpha(x, kept) if self.base in _ALPHA_KINDS else x * (kept * (1 / (1 - self.rate)))
        return x.copy_(dropped) if self.is_inplace else dropped

    def _like(self, x: Tensor) -> Tensor:
        """Returns a tensor with the mask's shape: the first entry of each channel for layers that drop channels."""
        if self.base not in CHANNELS:
            return x
        axes = 1 if _WITHOUT_BATCH.get(self.base) == x.ndim else 2
        return x[(slice(None),) * axes + (slice(0, 1),) * (x.ndim - axes)]

    def _alpha(self, x: Tensor, kept: Tensor) -> Tensor:
        scale = 1 / math.sqrt((ALPHA**2 * self.rate + 1) * (1 - self.rate))
        return x * (kept * scale) + ((kept - 1) * (ALPHA * scale) + ALPHA * scale * self.rate)


def make_live(deployed: nn.Module) -> Noise:
    """Replaces every dropout module of a model, and returns the source of their noise.

    Does not replace a subclass of torch's modules with its own forward, because its draws are unknown.

    Raises:
        RequestError: There is no dropout that drops anything, or one that drops everything.
    """
    noise = Noise()
    found: dict[nn.Module, LiveDropout] = {}
    for parent_name, parent in list(deployed.named_modules()):
        for name, child in list(parent._modules.items()):
            if child is not None and is_dropout(child):
                where = f"{parent_name}.{name}".removeprefix(".").removeprefix("network.")
                found.setdefault(child, LiveDropout(child, where, noise))
                setattr(parent, name, found[child])
    _require_noise([layer for layer in found.values() if layer.rate > 0])
    return noise


def is_dropout(module: nn.Module) -> bool:
    """Returns whether a module acts like one of torch's dropout modules."""
    return any(isinstance(module, kind) and type(module).forward is kind.forward for kind in KINDS)


def _require_noise(layers: Sequence[LiveDropout]) -> None:
    if not layers:
        raise RequestError(NO_DROPOUT, hint=NO_DROPOUT_HINT)
    for layer in layers:
        if layer.rate >= 1:
            raise RequestError(
                f"Module '{layer.name}' ({layer.kind}) drops everything: its rate is {layer.rate:g}.",
                hint="A stochastic export needs a rate below 1; or leave --stochastic out.",
            )


NO_DROPOUT = "A stochastic export was requested, but the model has no dropout with a rate above 0."
NO_DROPOUT_HINT = (
    "Leave --stochastic out, or train with dropout: `regplug run --reg dropout`. In your own module, use nn.Dropout or "
    "another of torch's dropout modules with a rate above 0 (an export cannot detect F.dropout)."
)
