"""The unit that counts as one independent observation of a study.

The unit is the outermost source of variation: the dataset, else data seed and fold, else the seed. Runs within a unit
share their data, so they are averaged first. Counting them as independent would find differences that disappear with a
new draw of the data.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from typing import Any, Literal

import numpy as np
from numpy.typing import NDArray

from regplug.statistics.records import PairKey, Values

Kind = Literal["seed", "data seed", "fold", "dataset"]


@dataclass(frozen=True, kw_only=True)
class Units:
    """Groups runs into observations.

    Args:
        kind: The kind of observation.
        variance_ratio: n_test / n_train, which overlapping training sets add to 1/n in the variance of a mean; 0 if the
            observations are independent.

    Source: Nadeau and Bengio 2003, eq. 20, for the ratio.
    """

    kind: Kind
    variance_ratio: float = 0.0

    def of(self, key: PairKey) -> tuple[Any, ...]:
        """Returns the observation of a run."""
        if self.kind == "dataset":
            return (key.dataset,)
        if self.kind == "seed":
            return (key.seed,)
        return (key.data_seed, key.repeat, -1 if key.fold is None else key.fold)

    def gather(self, values: Mapping[PairKey, float], keys: Iterable[PairKey]) -> NDArray[np.float64]:
        """Returns the means of the observations, float64 `(n,)`, sorted by observation.

        Args:
            values: Value by pair key.
            keys: The keys to use.
        """
        groups: dict[tuple[Any, ...], list[float]] = {}
        for key in keys:
            groups.setdefault(self.of(key), []).append(values[key])
        return np.array([_mean(groups[unit]) for unit in sorted(groups)], dtype=np.float64)

    def plural(self, count: int) -> str:
        """Returns `8 seeds`, `1 fold`."""
        return f"{count} {self.kind}{'' if count == 1 else 's'}"


def _mean(values: list[float]) -> float:
    # numpy's mean of equal numbers may differ from the number in the last bit.
    return values[0] if len(set(values)) == 1 else float(np.mean(sorted(values)))


def find_units(values: Values, test_to_train: float | None = None) -> Units:
    """Returns the units of a study.

    Args:
        values: Value by setting and pair key.
        test_to_train: See `Study`.
    """
    keys = {key for by_key in values.values() for key in by_key}
    folds = {key.fold for key in keys} - {None}
    if len({key.dataset for key in keys}) > 1:
        return Units(kind="dataset")
    if folds:
        return Units(kind="fold", variance_ratio=_fold_ratio(len(folds)) if test_to_train is None else test_to_train)
    if len({key.data_seed for key in keys}) > 1:
        return Units(kind="data seed", variance_ratio=test_to_train or 0.0)
    return Units(kind="seed")


def _fold_ratio(num_folds: int) -> float:
    return 1 / max(1, num_folds - 1)
