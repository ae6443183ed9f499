"""Numbers that replace a file's own draws, equal on every machine and in every version of numpy and torch."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np

from regplug.bundles.formats import Array

_LAYER_BITS = 40
_STEPS = 65536


def given_uniforms(layers: Sequence[Mapping[str, Any]], rows: int) -> list[Array]:
    """Returns numbers for every call of a dropout layer, in the order of the calls.

    Args:
        layers: `stochastic.layers` of a manifest.
        rows: Size of the batch.
    """
    return [uniforms(place, mask_shape(layer["mask"], rows)) for place, layer in enumerate(layers)]


def uniforms(stream: int, shape: Sequence[int]) -> Array:
    """Returns float32 numbers in (0, 1) at the middle of 65,536 steps: exact in every float format of 17 bits or more.

    u_i = (floor(splitmix64(i + 2^40 stream) / 2^48) + 1/2) / 2^16

    Args:
        stream: Index of the stream, from 0.
        shape: Shape of the array.

    >>> uniforms(0, (3,))
    array([0.8833084 , 0.43152618, 0.02643585], dtype=float32)

    Source: Steele, Lea and Flood 2014.
    """
    z = np.arange(math.prod(shape), dtype=np.uint64) + np.uint64(stream << _LAYER_BITS)
    z = (z + np.uint64(1)) * np.uint64(0x9E3779B97F4A7C15)
    z = (z ^ (z >> np.uint64(30))) * np.uint64(0xBF58476D1CE4E5B9)
    z = (z ^ (z >> np.uint64(27))) * np.uint64(0x94D049BB133111EB)
    z ^= z >> np.uint64(31)
    numbers: Array = (((z >> np.uint64(48)).astype(np.float64) + 0.5) / _STEPS).astype(np.float32)
    return numbers.reshape(shape)


def mask_shape(mask: Sequence[int | str], rows: int) -> tuple[int, ...]:
    """Returns the shape of a mask for a batch.

    Args:
        mask: As in the manifest: numbers, `batch`, or `6*batch` for an axis with six entries per row.
        rows: Size of the batch.

    >>> mask_shape(["6*batch", "batch", 8], 2)
    (12, 2, 8)
    """
    return tuple(axis if isinstance(axis, int) else rows * int(axis.rpartition("*")[0] or 1) for axis in mask)


def symbolic_mask(at_two: Sequence[int], at_three: Sequence[int]) -> list[int | str] | None:
    """Returns a mask's shape in terms of the batch, or `None` if an axis is not a multiple of it.

    Args:
        at_two: Its shape for two rows.
        at_three: Its shape for three.

    >>> symbolic_mask((2, 12, 8), (3, 18, 8))
    ['batch', '6*batch', 8]
    """
    if len(at_two) != len(at_three):
        return None
    mask: list[int | str] = []
    for two, three in zip(at_two, at_three, strict=True):
        each = three - two
        if each and two != 2 * each:
            return None
        mask.append(two if not each else "batch" if each == 1 else f"{each}*batch")
    return mask
