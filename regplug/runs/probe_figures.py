"""The figures of a run's probes: their measurements by layer, and their histograms."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Iterator, Mapping

from regplug.measuring.probing import Probing, by_layer
from regplug.reports.plots import layer_histograms_figure, layers_figure, png
from regplug.training.loop import Trainer

START = "start"
"""Label of what was measured before the first step."""


class ProbeFigures:
    """Measures a run once before it trains, so that a probe that does not fit fails before anything is tracked.

    Args:
        probing: The run's probes.
        trainer: Its trainer, before the first step.
    """

    def __init__(self, probing: Probing, trainer: Trainer) -> None:
        self._probing, self._trainer = probing, trainer
        is_start = trainer.state.epoch == 0
        measured = probing.measure(trainer)
        self._start = measured if is_start else {}
        self._histograms = probing.histograms(trainer) if is_start else {}

    def draw(self, history: Mapping[str, list[tuple[int, float]]]) -> Iterator[tuple[str, bytes]]:
        """Yields the name and the PNG of each figure of the finished run.

        Args:
            history: Points (epoch, value) by metric.
        """
        figures: dict[str, dict[str, dict[str, dict[str, float]]]] = defaultdict(dict)
        for quantity, layers in by_layer(history).items():
            figures[quantity.partition("/")[0]][quantity] = self._lines(quantity, layers)
        for prefix, panels in figures.items():
            yield f"{prefix}_by_layer", png(layers_figure(panels))
        shown: dict[str, dict[str, dict[str, tuple[tuple[float, ...], tuple[int, ...]]]]] = defaultdict(dict)
        times = {START: self._histograms, "end": self._probing.histograms(self._trainer)}
        for label, histograms in times.items():
            for name, each in histograms.items():
                prefix, _, part = name.partition("/")
                shown[prefix].setdefault(part, {})[label] = each.edges, each.counts
        for prefix, parts in shown.items():
            yield f"{prefix}_histograms", png(layer_histograms_figure(parts))

    def _lines(self, quantity: str, layers: Mapping[str, list[tuple[int, float]]]) -> dict[str, dict[str, float]]:
        """Returns the values by layer at the start, in the middle and at the end."""
        epochs = sorted({epoch for points in layers.values() for epoch, _ in points})
        chosen = dict.fromkeys((epochs[(len(epochs) - 1) // 2], epochs[-1]))
        start = {n: self._start[f"{quantity}/{n}"] for n in layers if f"{quantity}/{n}" in self._start}
        lines = {
            f"epoch {at}": {n: dict(points)[at] for n, points in layers.items() if at in dict(points)} for at in chosen
        }
        return ({START: start} if start else {}) | lines
