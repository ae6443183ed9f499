"""Metrics of a run during training, for a single run and for each run of a stack."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

UNPLOTTED = "time/"
"""Prefix of metrics without a curve."""


class MetricLog:
    """The metrics of one run: the last value of each, and its values by epoch.

    Args:
        history: Metric -> epoch and value, of a run that is resumed.
    """

    def __init__(self, history: Mapping[str, Sequence[tuple[int, float]]] | None = None) -> None:
        self.history = {name: list(points) for name, points in (history or {}).items()}
        self.last = {name: points[-1][1] for name, points in self.history.items()}

    def new_points(self, epoch: int, values: Mapping[str, float]) -> dict[str, float]:
        """Returns the values that differ from those of the same epoch, or have none there yet."""
        return {name: value for name, value in values.items() if (epoch, value) not in self.history.get(name, ())[-1:]}

    def put(self, epoch: int, values: Mapping[str, float]) -> None:
        """Adds values; a second value for an epoch replaces the first."""
        self.last |= values
        for name, value in values.items():
            points = self.history.setdefault(name, [])
            if points and points[-1][0] == epoch:
                points.pop()
            points.append((epoch, value))

    def history_copy(self) -> dict[str, list[tuple[int, float]]]:
        """Returns a copy of the history, which later epochs do not change."""
        return {name: list(points) for name, points in self.history.items()}

    def curves(self) -> dict[str, list[tuple[int, float]]]:
        """Returns the points of the metrics with a curve."""
        return {name: points for name, points in self.history.items() if not name.startswith(UNPLOTTED)}
