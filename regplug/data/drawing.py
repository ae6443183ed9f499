"""Draws rows at random, or with the same share of each class: the same rows as scikit-learn's `train_test_split`.

That function keeps the rows in Python lists, which takes 90 MB for a million rows, and needs twice the time.
"""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from regplug.data.raw import Array

Rows = NDArray[np.intp]


def draw_rows(num_rows: int, size: int, seed: int, labels: Array | None = None) -> tuple[Rows, Rows]:
    """Returns the rows that are left and those that are drawn, both in random order.

    Args:
        num_rows: Number of rows.
        size: Number of rows to draw.
        seed: Of 32 bits.
        labels: Classes `(num_rows,)`: both parts then have nearly the same share of each class.

    Raises:
        ValueError: A class has one row only, or a part would have fewer rows than there are classes.
    """
    # NumPy's former generator, with which scikit-learn draws: splits stay those of earlier versions.
    generator = np.random.RandomState(seed)
    if labels is None:
        order = generator.permutation(num_rows)
        return order[size:], order[:size]
    _, ranks, counts = distinct(labels)
    _check(counts, num_rows - size, size)
    left = _counts_of_classes(counts, num_rows - size, generator)
    drawn = _counts_of_classes(counts - left, size, generator)
    # NumPy sorts numbers of 8 and 16 bits in linear time.
    by_class = np.argsort(ranks.astype(np.min_scalar_type(len(counts)), copy=False), kind="stable")
    parts = np.split(by_class, np.cumsum(counts)[:-1])
    for rows in parts:
        generator.shuffle(rows)
    rest = np.concatenate([rows[:first] for rows, first in zip(parts, left, strict=True)])
    out = np.concatenate([rows[a : a + b] for rows, a, b in zip(parts, left, drawn, strict=True)])
    generator.shuffle(rest)
    generator.shuffle(out)
    return rest, out


def distinct(labels: Array) -> tuple[Array, Array, Array]:
    """Returns the different labels, sorted, the index of each label among them, and the number of each, as `np.unique`.

    Where labels are small whole numbers, it counts them instead of sorting a million of them.
    """
    if not labels.size or labels.dtype.kind not in "iu" or labels.min() < 0 or labels.max() >= len(labels):
        return np.unique(labels, return_inverse=True, return_counts=True)
    counts = np.bincount(labels.astype(np.intp, copy=False))
    known = np.flatnonzero(counts)
    rank_of = (np.cumsum(counts > 0) - 1).astype(np.min_scalar_type(len(known)))
    return known.astype(labels.dtype), rank_of[labels], counts[known]


def _check(counts: Array, left: int, drawn: int) -> None:
    if counts.min() < 2:
        raise ValueError("the least populated class has only one row")
    if min(left, drawn) < len(counts):
        raise ValueError(f"a split of {min(left, drawn)} rows is too small for {len(counts)} classes")


def _counts_of_classes(counts: Array, size: int, generator: np.random.RandomState) -> Array:
    """Returns how many of `size` rows each class gets; the largest remainders are rounded up, equal ones at random."""
    exact = counts / counts.sum() * size
    whole: Array = np.floor(exact)
    remainders = exact - whole
    missing = int(size - whole.sum())
    for remainder in np.unique(remainders)[::-1]:
        if missing <= 0:
            break
        (places,) = np.nonzero(remainders == remainder)
        chosen = generator.choice(places, size=min(len(places), missing), replace=False)
        whole[chosen] += 1
        missing -= len(chosen)
    return whole.astype(np.intp)
