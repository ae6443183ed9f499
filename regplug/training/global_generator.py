"""Torch's global generator, for code that draws from it, such as `F.dropout` in a user's forward."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager

import torch

from regplug.seeds import derive_seed


class GlobalGenerator:
    """Seeds torch's global generator for one run."""

    def __init__(self) -> None:
        self._is_used = True

    @contextmanager
    def seeded(self, seed: int, epoch: int) -> Iterator[None]:
        """Seeds it by run and epoch, and restores it afterwards.

        Args:
            seed: The run's seed.
            epoch: Epochs done before.
        """
        if not self._is_used:
            yield
            return
        saved = torch.get_rng_state()
        torch.manual_seed(derive_seed(seed, "global", epoch))
        seeded = torch.get_rng_state()
        try:
            yield
        finally:
            # Most models draw nothing here. Seeding costs a tenth of a small epoch, so it stops after the first one.
            self._is_used = not torch.equal(seeded, torch.get_rng_state())
            torch.set_rng_state(saved)
