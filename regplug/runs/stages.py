"""The stages of a run: each is reported and timed."""

from __future__ import annotations

import time
from collections.abc import Iterator, Sequence
from contextlib import contextmanager

from regplug.runs.results import Observer


class Stages:
    """Reports the start of each stage to observers, and measures how long it takes."""

    def __init__(self, observers: Sequence[Observer]) -> None:
        self._observers = observers
        self.seconds: dict[str, float] = {}

    @contextmanager
    def stage(self, name: str) -> Iterator[None]:
        """Reports that a stage begins, and times it."""
        for observer in self._observers:
            observer.stage(name)
        began = time.perf_counter()
        try:
            yield
        finally:
            self.seconds[name] = time.perf_counter() - began
