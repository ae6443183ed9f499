"""The global generators of torch, NumPy and Python, which a component neither reseeds nor draws from."""

from __future__ import annotations

import random
from collections.abc import Collection, Iterator
from contextlib import contextmanager

import numpy as np
import torch

from regplug.testing.checking import expect


def state_of_generators() -> dict[str, bytes]:
    """The state of each global generator."""
    _, keys, *position = np.random.get_state()  # noqa: NPY002 - the global one is what is looked at
    return {
        "torch": torch.get_rng_state().numpy().tobytes(),
        "numpy": np.asarray(keys).tobytes() + repr(position).encode(),
        "random": repr(random.getstate()).encode(),
    }


@contextmanager
def generators_untouched(what: str, *, apart_from: Collection[str] = ()) -> Iterator[None]:
    """Fails the check if a global generator is another one afterwards.

    Args:
        what: What is tried, for the message.
        apart_from: Generators that may change.
    """
    before = {name: state for name, state in state_of_generators().items() if name not in apart_from}
    yield
    expect_generators(before, what)


def expect_generators(before: dict[str, bytes], what: str) -> None:
    """Fails the check if a global generator is not as it was."""
    after = state_of_generators()
    changed = [name for name, state in before.items() if after[name] != state]
    expect(not changed, f"{what} drew from, or reseeded, the global generator of {', '.join(changed)}")


@contextmanager
def torch_seeded(seed: int) -> Iterator[None]:
    """Seeds torch's global generator of the CPU, and gives it its state back.

    By itself: `torch.manual_seed` takes two milliseconds to remember the seed for a GPU that nobody has used.
    """
    saved = torch.get_rng_state()
    try:
        torch.default_generator.manual_seed(seed)
        yield
    finally:
        torch.set_rng_state(saved)


@contextmanager
def seeded_globally(seed: int) -> Iterator[None]:
    """Seeds every global generator, and gives each its state back."""
    saved = np.random.get_state(), random.getstate()  # noqa: NPY002 - the global one is meant
    with torch_seeded(seed):
        try:
            np.random.seed(seed)  # noqa: NPY002 - the global one is meant
            random.seed(seed)
            yield
        finally:
            np.random.set_state(saved[0])  # noqa: NPY002 - the global one is meant
            random.setstate(saved[1])
