"""Each run's own random numbers: drawn by the block, keyed by what they are for.

A generator is seeded from (seed, component, key, pass, epoch) and belongs to the run, not to the loop. So a run draws
the same numbers alone or in a stack, a run that stops after an epoch goes on without saved generator states, and one
more regularizer never changes the numbers of another.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Literal

import numpy as np
import torch
from torch import Tensor

from regplug.seeds import derive_seed

Distribution = Literal["bits", "uniform", "normal", "permutation", "beta"]

BLOCK_NUMBERS = 1 << 21
"""Numbers that one run draws in one block, about; fixed, because `randn(1000)` is not two `randn(500)`."""


@dataclass(frozen=True, kw_only=True)
class Draw:
    """What a component needs of one distribution at each step.

    Args:
        distribution: Which numbers.
        shape: Shape at one step of one run.
        per_sample: Whether the first axis is the batch, which a last, smaller batch cuts.
        concentration: Both parameters of a beta distribution.
    """

    distribution: Distribution
    shape: tuple[int, ...]
    per_sample: bool = True
    concentration: float = 1.0


def bits(shape: Sequence[int], *, per_sample: bool = True) -> Draw:
    """Sixteen random bits an entry: int16, uniform on [-32768, 32767]. The cheapest mask is one comparison away."""
    return Draw(distribution="bits", shape=tuple(shape), per_sample=per_sample)


def uniform(shape: Sequence[int], *, per_sample: bool = True) -> Draw:
    """Uniform on [0, 1)."""
    return Draw(distribution="uniform", shape=tuple(shape), per_sample=per_sample)


def normal(shape: Sequence[int], *, per_sample: bool = True) -> Draw:
    """Standard normal."""
    return Draw(distribution="normal", shape=tuple(shape), per_sample=per_sample)


def permutation(length: int) -> Draw:
    """A permutation of the rows of a batch, int64."""
    return Draw(distribution="permutation", shape=(length,))


def beta(concentration: float) -> Draw:
    """One number a step from Beta(concentration, concentration); 0 gives 1, the limit that mixes nothing."""
    return Draw(distribution="beta", shape=(), per_sample=False, concentration=concentration)


def keep_mask(bits: Tensor, drop_probability: Tensor) -> tuple[Tensor, Tensor]:
    """Turns random bits into a Bernoulli mask.

    The probability is rounded to a multiple of 2^-16, and the scale belongs to the rounded one, so the mean is exact.

    Args:
        bits: int16, any shape.
        drop_probability: Scalar in [0, 1).

    Returns:
        A boolean mask of the shape of `bits`, true where an entry is kept, and the scalar 1 / P(kept).
    """
    dropped = (drop_probability * 65536.0).round().clamp(0, 65535)
    return bits >= (dropped - 32768.0).to(torch.int16), 65536.0 / (65536.0 - dropped)


def _draw_bits(shape: tuple[int, ...], generator: torch.Generator, _: Draw) -> Tensor:
    entries = math.prod(shape)
    words = torch.empty((entries + 3) // 4, dtype=torch.int64, device=generator.device)
    # random_() alone would leave the sign bit zero.
    words.random_(torch.iinfo(torch.int64).min, None, generator=generator)
    return words.view(torch.int16)[:entries].view(shape)


def _draw_uniform(shape: tuple[int, ...], generator: torch.Generator, _: Draw) -> Tensor:
    return torch.rand(shape, generator=generator, device=generator.device)


def _draw_normal(shape: tuple[int, ...], generator: torch.Generator, _: Draw) -> Tensor:
    return torch.randn(shape, generator=generator, device=generator.device)


def _draw_beta(shape: tuple[int, ...], generator: torch.Generator, draw: Draw) -> Tensor:
    if draw.concentration == 0:
        return torch.ones(shape, device=generator.device)
    # torch draws no beta from a generator; NumPy takes the same seed.
    values = np.random.default_rng(generator.initial_seed()).beta(draw.concentration, draw.concentration, size=shape)
    return torch.from_numpy(np.asarray(values, dtype=np.float32)).to(generator.device)


_SAMPLERS: Mapping[Distribution, Callable[[tuple[int, ...], torch.Generator, Draw], Tensor]] = {
    "bits": _draw_bits,
    "uniform": _draw_uniform,
    "normal": _draw_normal,
    "permutation": _draw_uniform,
    "beta": _draw_beta,
}

Key = tuple[str, str]
"""Component and what it calls the draw; a further pass has its number behind the name (`pass_key`)."""


def pass_key(key: str, number: int) -> str:
    """The name of a draw in the forward pass of that number: the first pass needs no mark."""
    return key if number == 0 else f"{key}@{number}"


def block_length(draws: Sequence[Mapping[Key, Draw]], steps_per_epoch: int, step_numbers: int = 0) -> int:
    """How many steps one block serves: set by the configuration of one run, the same for one and for many.

    Args:
        draws: What each run needs a step; runs of a stack need the same shapes.
        steps_per_epoch: No block crosses the end of an epoch.
        step_numbers: Further numbers a step, such as the entries of a batch.
    """
    numbers = step_numbers + max((sum(math.prod(draw.shape) for draw in one.values()) for one in draws), default=0)
    return max(1, min(steps_per_epoch, BLOCK_NUMBERS // max(1, numbers)))


class NoiseStream:
    """The random numbers of one run.

    Args:
        seed: The run's seed.
        draws: What is needed at each step.
        length: Steps in a block.
        dtype: Floating type of the numbers that are floating.
        device: Where they are drawn.
    """

    def __init__(
        self, seed: int, draws: Mapping[Key, Draw], *, length: int, dtype: torch.dtype, device: torch.device
    ) -> None:
        self._seed, self._draws, self._length = seed, draws, length
        self._dtype, self._device = dtype, device

    def block(self, epoch: int | str, number: int) -> dict[Key, Tensor]:
        """Draws the block of that number in that epoch.

        Returns:
            For each key a tensor of shape `(length, *draw.shape)`.
        """
        return {key: self._draw(key, draw, epoch, number) for key, draw in self._draws.items()}

    def _draw(self, key: Key, draw: Draw, epoch: int | str, number: int) -> Tensor:
        generator = torch.Generator(self._device)
        generator.manual_seed(derive_seed(self._seed, "noise", *key, str(epoch), str(number)))
        values = _SAMPLERS[draw.distribution]((self._length, *draw.shape), generator, draw)
        return values.to(self._dtype) if values.is_floating_point() and draw.distribution != "permutation" else values


def at_step(
    block: Mapping[Key, Tensor], draws: Mapping[Key, Draw], step: int, batch_size: int, lead: int
) -> dict[str, dict[str, Tensor]]:
    """Takes one step's numbers out of a block.

    Args:
        block: Tensors of shape `(length, *lead, *draw.shape)`.
        draws: The same keys.
        step: Which step of the block.
        batch_size: Rows in this step's batch; per-sample draws are cut to it.
        lead: Number of leading run axes: 0 for one run, 1 for a stack.

    Returns:
        Component -> key -> tensor.
    """
    noise: dict[str, dict[str, Tensor]] = {}
    for (component, key), values in block.items():
        draw, value = draws[component, key], values[step]
        if draw.per_sample and draw.shape[0] != batch_size:
            value = value.narrow(lead, 0, batch_size)
        noise.setdefault(component, {})[key] = value.argsort(-1) if draw.distribution == "permutation" else value
    return noise
