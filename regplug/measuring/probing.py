"""Measures the probes of runs, and what they cost."""

from __future__ import annotations

import time
from collections import defaultdict
from collections.abc import Iterator, Mapping
from contextlib import contextmanager

from regplug.probes import Histogram, Probe
from regplug.training.loop import Trainer

LAYER_SLASHES = 2
"""Slashes in the name of a measurement of one layer: `gradient/norm/hidden1`."""


def is_of_layer(metric: str) -> bool:
    """Whether a metric is a probe's measurement of one layer.

    >>> is_of_layer("gradient/norm/hidden1"), is_of_layer("gradient/norm")
    (True, False)
    """
    return metric.count("/") >= LAYER_SLASHES


class Probing:
    """The probes of one run or of a stack.

    Args:
        probes: Key -> probe.

    `seconds` has the time that each probe has taken. What several probes share, such as a pass over the sample, counts
    for the first of them.
    """

    def __init__(self, probes: Mapping[str, Probe]) -> None:
        self._probes = dict(probes)
        self.seconds = dict.fromkeys(probes, 0.0)
        self._last: dict[int, tuple[int, dict[str, float]]] = {}

    def __bool__(self) -> bool:
        return bool(self._probes)

    def measure(self, trainer: Trainer, run: int = 0) -> dict[str, float]:
        """Returns the current measurements of one run, by metric name."""
        if not self._probes:
            return {}
        view, values = trainer.view_of(run), dict[str, float]()
        for key, probe in self._probes.items():
            with self._timed(key):
                values |= probe.measure(view)
        self._last[run] = trainer.state.epoch, values
        return values

    def measure_final(self, trainer: Trainer, run: int = 0) -> dict[str, float]:
        """Returns the measurements of one run's final weights; those of its last epoch if these are the same."""
        epoch, values = self._last.get(run, (None, {}))
        is_known = epoch == trainer.state.epoch and not trainer.has_finalizers
        return values if is_known else self.measure(trainer, run)

    def histograms(self, trainer: Trainer, run: int = 0) -> dict[str, Histogram]:
        """Returns the current histograms of one run, by name."""
        drawing = {key: each for key, each in self._probes.items() if type(each).histograms is not Probe.histograms}
        if not drawing:
            return {}
        view, found = trainer.view_of(run), dict[str, Histogram]()
        for key, probe in drawing.items():
            with self._timed(key):
                found |= probe.histograms(view)
        return found

    @contextmanager
    def _timed(self, key: str) -> Iterator[None]:
        began = time.perf_counter()
        try:
            yield
        finally:
            self.seconds[key] += time.perf_counter() - began


def by_layer(history: Mapping[str, list[tuple[int, float]]]) -> dict[str, dict[str, list[tuple[int, float]]]]:
    """Returns quantity -> layer -> points, of the measurements of layers in a history.

    >>> by_layer({"gradient/norm/hidden1": [(1, 0.5)], "gradient/norm": [(1, 2.0)]})
    {'gradient/norm': {'hidden1': [(1, 0.5)]}}
    """
    found: dict[str, dict[str, list[tuple[int, float]]]] = defaultdict(dict)
    for name, points in history.items():
        if is_of_layer(name):
            prefix, quantity, layer = name.split("/", LAYER_SLASHES)
            found[f"{prefix}/{quantity}"][layer] = points
    return dict(found)
