"""One seed, split by purpose, so that the draws of one part never change those of another."""

from __future__ import annotations

import hashlib


def derive_seed(seed: int, *purpose: str | int) -> int:
    """Returns the seed for one purpose: the first 63 bits of BLAKE2b over seed and purpose.

    Args:
        seed: The run's seed, or the data seed.
        purpose: Words that identify the purpose, from general to specific: `"order", 3`.

    Returns:
        A number in [0, 2**63), the same on every machine and in every process.

    >>> derive_seed(0, "order", 3) == derive_seed(0, "order", 3)
    True
    >>> derive_seed(0, "order", 3) == derive_seed(0, "order", 4)
    False
    """
    # repr distinguishes 1 from "1" and separates the words.
    words = repr((seed, *purpose)).encode()
    return int.from_bytes(hashlib.blake2b(words, digest_size=8).digest(), "big") >> 1
