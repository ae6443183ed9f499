"""Values of a metric on each test row, which show how far a result depends on the test rows.

Shape letters: S seeds, R test rows.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray

from regplug.statistics.two_way import Array, TwoWay, analyse_table

if TYPE_CHECKING:
    from regplug.statistics.records import PairKey, Study
    from regplug.statistics.units import Units

ROW_METRICS = ("accuracy", "loss", "mae", "brier", "exact_match", "label_accuracy")
"""Metrics that are means over the rows."""

_MOST_AT_ONCE = 1 << 22
"""Most numbers in one computation of many tables."""


@dataclass(frozen=True, kw_only=True, eq=False)
class RowValues:
    """The metrics of one run on each of its test rows.

    Args:
        digest: Digest of the rows; runs with the same digest are paired by row.
        values: Metric, such as `test/accuracy` -> its value on each row `(R,)`, bool or floating point.
    """

    digest: str
    values: Mapping[str, NDArray[Any]]


def mean_rows(each: Sequence[RowValues | None]) -> RowValues | None:
    """Returns the means of several runs on each row; `None` unless all runs have values of the same rows."""
    known = [rows for rows in each if rows is not None]
    if len(known) == 1 == len(each):
        return known[0]
    if len(known) < len(each) or len({rows.digest for rows in known}) != 1:
        return None
    shared = [name for name in known[0].values if all(name in rows.values for rows in known)]
    stacked = {name: np.stack([rows.values[name] for rows in known], dtype=np.float32) for name in shared}
    values = {name: table.mean(axis=0) for name, table in stacked.items()}
    return RowValues(digest=known[0].digest, values=values)


class RowTable:
    """The values of one metric on the test rows that all runs of a study share.

    Args:
        values: Setting -> pair key -> value on each row `(R,)`.
    """

    def __init__(self, values: Mapping[str, Mapping[PairKey, NDArray[Any]]]) -> None:
        self._keys = {label: tuple(sorted(by_key)) for label, by_key in values.items()}
        self._values = {
            label: np.stack([values[label][key] for key in keys]) for label, keys in self._keys.items() if keys
        }
        first = next(iter(self._values.values()))
        self.rows = first.shape[1]
        self.is_share = first.dtype == np.bool_

    def of(self, label: str) -> TwoWay | None:
        """Returns the mean of a setting; `None` below two seeds."""
        if len(self._keys[label]) < 2:
            return None
        return analyse_table(self._values[label].astype(np.float64))

    def are_equal(self, first: str, second: str) -> bool:
        """Returns whether two settings have the same values, up to the precision in which they are kept."""
        one, other = self._shared(first, second)
        if self.is_share:
            return bool(np.array_equal(one, other))
        # float16 has 11 bits.
        return bool(np.allclose(one.astype(np.float64), other.astype(np.float64), rtol=2e-3, atol=1e-6))

    def difference(self, first: str, second: str) -> TwoWay | None:
        """Returns first minus second on the seeds that both have; `None` below two."""
        one, other = self._shared(first, second)
        return analyse_table(one.astype(np.float64) - other) if len(one) > 1 else None

    def p_values(self, labels: Sequence[str]) -> list[float]:
        """Returns p of every pair of these settings that shares two seeds and varies."""
        found: list[float] = []
        for at, label in enumerate(labels[:-1]):
            others = labels[at + 1 :]
            alike = [other for other in others if self._keys[other] == self._keys[label]]
            tables = [self._values[label] - stacked for stacked in self._batches(alike)]
            tables += [np.subtract(*self._shared(label, o), dtype=np.float64) for o in others if o not in alike]
            found += [p for table in tables if table.shape[-2] > 1 for p in _p_values(table)]
        return found

    def _batches(self, labels: Sequence[str]) -> Iterator[Array]:
        """Yields the values of settings with the same seeds, `(settings, S, R)`."""
        size = max(1, _MOST_AT_ONCE // self._values[labels[0]].size) if labels else 1
        for start in range(0, len(labels), size):
            yield np.stack([self._values[label] for label in labels[start : start + size]], dtype=np.float64)

    def _shared(self, first: str, second: str) -> tuple[NDArray[Any], NDArray[Any]]:
        if self._keys[first] == self._keys[second]:
            return self._values[first], self._values[second]
        shared = set(self._keys[first]) & set(self._keys[second])
        one, other = (self._values[label][[key in shared for key in self._keys[label]]] for label in (first, second))
        return one, other


def _p_values(tables: Array) -> list[float]:
    found = analyse_table(tables.reshape(-1, *tables.shape[-2:]))
    varies = found.variance > 0
    # Where nothing varies there is no test; 1 keeps the arithmetic finite.
    p_values = replace(found, variance=np.where(varies, found.variance, 1.0)).p_of(found.mean)
    return [float(p) for p in p_values[varies]]


def find_rows(study: Study, metric: str, units: Units) -> tuple[RowTable | None, str]:
    """Returns the values by test row, or why there are none.

    Args:
        study: Settings and runs.
        metric: The compared metric.
        units: The units that count as one observation; only runs that differ in the seed alone share their test rows.
    """
    if units.kind != "seed":
        return None, "the runs do not share their test rows"
    runs = [run for run in study.runs if run.value(metric) is not None]
    if metric.rpartition("/")[2] not in ROW_METRICS:
        return None, f"{metric} is not a mean over the rows"
    kept = [run.rows for run in runs if run.rows is not None and metric in run.rows.values]
    if len(kept) < len(runs):
        some = "some of the runs keep" if kept else "the runs keep"
        return None, f"{some} no values of {metric} by row"
    if kept[0].values[metric].size < 2:
        return None, "there is only one test row"
    if len({rows.digest for rows in kept}) > 1:
        return None, "the settings are evaluated on different rows"
    values: dict[str, dict[PairKey, NDArray[Any]]] = {label: {} for label in study.labels}
    for run, rows in zip(runs, kept, strict=True):
        values[run.setting][run.key] = rows.values[metric]
    return RowTable(values), ""
