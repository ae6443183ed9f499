"""Random numbers of a run: drawn in blocks and seeded by their purpose.

Each generator is seeded from (seed, component, key, pass, epoch) and belongs to one run, not to the training loop. So a
run draws the same numbers alone or in a stack, a run can be resumed after an epoch without saved generator states, and
adding a regularizer never changes the numbers of another.
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
"""Approximate number of values per run and block; fixed, because `randn(1000)` is not two `randn(500)`."""


@dataclass(frozen=True, kw_only=True)
class Draw:
    """The random numbers of one distribution that a component needs at each step.

    Args:
        distribution: The distribution.
        shape: Shape for one step of one run.
        per_sample: Whether the first axis is the batch axis, which is cut for a smaller last batch.
        concentration: Both parameters of a beta distribution.
    """

    distribution: Distribution
    shape: tuple[int, ...]
    per_sample: bool = True
    concentration: float = 1.0


def bits(shape: Sequence[int], *, per_sample: bool = True) -> Draw:
    """Sixteen random bits per entry: int16, uniform on [-32768, 32767]. The cheapest source of masks (`keep_mask`)."""
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
    """One number per step from Beta(concentration, concentration); 0 gives 1, the limit without mixing."""
    return Draw(distribution="beta", shape=(), per_sample=False, concentration=concentration)


def keep_mask(bits: Tensor, drop_probability: Tensor) -> tuple[Tensor, Tensor]:
    """Turns random bits into a Bernoulli mask.

    The probability is rounded to a multiple of 2^-16, and the scale is computed from the rounded one, so the mean is
    exact.

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
    # torch cannot draw a beta distribution from a generator, so NumPy does, with the same seed.
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
"""Component and the name of its draw; for a pass after the first, its number is appended to the name (`pass_key`)."""


def pass_key(key: str, number: int) -> str:
    """Returns the name of a draw in the forward pass of that number; the first pass has no suffix."""
    return key if number == 0 else f"{key}@{number}"


def block_length(draws: Sequence[Mapping[Key, Draw]], steps_per_epoch: int, step_numbers: int = 0) -> int:
    """Returns the number of steps in a block, which depends on one run's configuration and not on the stack size.

    Args:
        draws: The draws of each run per step; the runs of a stack have the same shapes.
        steps_per_epoch: Steps per epoch; no block crosses the end of an epoch.
        step_numbers: Additional numbers per step, such as the entries of a batch.
    """
    numbers = step_numbers + max((sum(math.prod(draw.shape) for draw in one.values()) for one in draws), default=0)
    return max(1, min(steps_per_epoch, BLOCK_NUMBERS // max(1, numbers)))


class NoiseStream:
    """The random numbers of one run.

    Args:
        seed: The run's seed.
        draws: The draws of each step.
        length: Steps per block.
        dtype: Type of floating-point numbers.
        device: Device that draws the numbers.
    """

    def __init__(
        self, seed: int, draws: Mapping[Key, Draw], *, length: int, dtype: torch.dtype, device: torch.device
    ) -> None:
        self._seed, self._draws, self._length = seed, draws, length
        self._dtype, self._device = dtype, device

    def block(self, epoch: int | str, number: int) -> dict[Key, Tensor]:
        """Draws one block of one epoch.

        Returns:
            Key -> tensor of shape `(length, *draw.shape)`.
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
    """Returns one step's numbers from a block.

    Args:
        block: Tensors of shape `(length, *lead, *draw.shape)`.
        draws: The draws by the same keys.
        step: Index of the step in the block.
        batch_size: Rows in this step's batch; per-sample draws are cut to this number.
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
