"""Ranks of settings over datasets, or over the pairs of one dataset."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from regplug.statistics.records import PairKey, Values
from regplug.statistics.rounding import RESOLUTION, merge_near
from regplug.statistics.units import Kind, Units

ALPHA = 0.05


@dataclass(frozen=True, kw_only=True)
class Ranks:
    """Mean ranks; 1 is the best. Ties share a rank, and values within rounding are ties.

    Args:
        over: The kind of observation over which the settings were ranked.
        n: Number of observations with a value for every setting.
        mean_ranks: By setting.
        friedman_p: p of Friedman's test that all settings rank equally; `None` below three settings or two
            observations.
        critical_difference: Nemenyi's at 5 %: closer mean ranks are not significantly different. Only over datasets.
        groups: Largest groups of settings without significant differences, best first. Only over datasets.
    """

    over: Kind
    n: int
    mean_ranks: Mapping[str, float]
    friedman_p: float | None = None
    critical_difference: float | None = None
    groups: tuple[tuple[str, ...], ...] = ()

    def document(self) -> dict[str, Any]:
        """Returns the ranks as JSON."""
        return {
            "over": self.over,
            "n": self.n,
            "mean_ranks": dict(self.mean_ranks),
            "friedman_p": self.friedman_p,
            "critical_difference": self.critical_difference,
            "groups": [list(group) for group in self.groups],
        }


def rank(values: Values, units: Units, *, is_lower_better: bool) -> Ranks | None:
    """Returns the ranks on the observations that all settings share; `None` without any, or with only one setting.

    Args:
        values: Value by setting and pair key.
        units: The units that count as one observation.
        is_lower_better: Whether lower values of the metric are better.

    Source: Demsar 2006.
    """
    from scipy.stats import rankdata

    labels = [label for label in values if values[label]]
    shared = set.intersection(*(set(values[label]) for label in labels)) if labels else set()
    if len(labels) < 2 or not shared:
        return None
    raw_NK = np.stack([units.gather(values[label], shared) for label in labels], axis=1)
    scores_NK = np.stack([merge_near(row, RESOLUTION * np.abs(row)) for row in raw_NK])
    ranks_NK = rankdata(scores_NK if is_lower_better else -scores_NK, axis=1)
    mean_ranks = dict(zip(labels, map(float, ranks_NK.mean(axis=0)), strict=True))
    cd = critical_difference(len(labels), len(scores_NK)) if units.kind == "dataset" else None
    return Ranks(
        over=units.kind,
        n=len(scores_NK),
        mean_ranks=mean_ranks,
        friedman_p=_friedman_p(ranks_NK),
        critical_difference=cd,
        groups=_groups(mean_ranks, cd) if cd is not None else (),
    )


def rank_over_datasets(datasets: Sequence[Mapping[str, float]], is_lower_better: Sequence[bool]) -> Ranks | None:
    """Returns the mean ranks of the settings that all datasets have; `None` below two datasets or two such settings.

    Only ranks are averaged: the mean of accuracies on different datasets, or of different losses, has no meaning.

    Args:
        datasets: For each dataset, the mean of its metric by setting.
        is_lower_better: For each dataset, whether lower values of its metric are better.

    Source: Demsar 2006, section 3.2.

    >>> rank_over_datasets([{"a": 0.9, "b": 0.8}, {"a": 0.1, "b": 0.3}], [False, True]).mean_ranks
    {'a': 1.0, 'b': 2.0}
    """
    if len(datasets) < 2:
        return None
    values: dict[str, dict[PairKey, float]] = {}
    for number, (means, is_lower) in enumerate(zip(datasets, is_lower_better, strict=True)):
        for label, mean in means.items():
            values.setdefault(label, {})[PairKey(seed=0, dataset=f"{number:09}")] = mean if is_lower else -mean
    everywhere = {label: by_dataset for label, by_dataset in values.items() if len(by_dataset) == len(datasets)}
    return rank(everywhere, Units(kind="dataset"), is_lower_better=True)


def critical_difference(num_settings: int, num_datasets: int) -> float:
    """Returns Nemenyi's critical difference of mean ranks at 5 %: q * sqrt(k (k + 1) / 6N).

    q is the studentized range for k groups and infinite degrees of freedom, divided by sqrt(2).

    Source: Demsar 2006, section 3.2.2.

    >>> round(critical_difference(4, 14), 2)
    1.25
    """
    from scipy.stats import studentized_range

    q = float(studentized_range.ppf(1 - ALPHA, num_settings, np.inf)) / 2**0.5
    scale: float = (num_settings * (num_settings + 1) / (6 * num_datasets)) ** 0.5
    return q * scale


def _friedman_p(ranks_NK: NDArray[np.float64]) -> float | None:
    from scipy.stats import friedmanchisquare

    if ranks_NK.shape[0] < 2 or ranks_NK.shape[1] < 3:
        return None
    if not np.ptp(ranks_NK, axis=1).any():  # all ties: no evidence of a difference, and scipy would divide by zero
        return 1.0
    return float(friedmanchisquare(*ranks_NK.T).pvalue)


def _groups(mean_ranks: Mapping[str, float], cd: float) -> tuple[tuple[str, ...], ...]:
    ordered = sorted(mean_ranks, key=mean_ranks.__getitem__)
    spans = [tuple(b for b in ordered[at:] if mean_ranks[b] - mean_ranks[a] < cd) for at, a in enumerate(ordered)]
    return tuple(
        span
        for at, span in enumerate(spans)
        if len(span) > 1 and not any(set(span) < set(other) for other in spans[:at])
    )
