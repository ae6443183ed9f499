"""Paired comparisons: whether one setting is better than another, by how much, and with which confidence."""

from __future__ import annotations

import gc
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, replace
from typing import Any, Literal

import numpy as np

from regplug.statistics.records import PairKey
from regplug.statistics.rounding import RESOLUTION, Array, are_equal, merge_magnitudes
from regplug.statistics.rows import RowTable
from regplug.statistics.summary import standard_deviation, t_interval
from regplug.statistics.two_way import Interval, TwoWay
from regplug.statistics.units import Kind, Units

Outcome = Literal["identical", "constant", "too few", "tested"]

ALPHA = 0.05

MOST_SIGNS = 13
"""Up to this many differences, Wilcoxon's p is exact even with ties; scipy has the same bound."""


@dataclass(frozen=True, kw_only=True)
class Comparison:
    """The comparison of two settings on the observations that they share.

    Args:
        first: The first setting.
        second: The setting with which it is compared.
        outcome: `tested`; `identical` if every pair is equal; `constant` if every pair differs by the same amount, so
            that there is no variation to test against; `too few` below two pairs. Equal means equal up to rounding.
        unit: The kind of observation that forms a pair.
        n: Number of pairs.
        difference: Mean of first minus second; `None` without a pair.
        rows: Number of test rows that interval and test cover beside the pairs; 0 if they cover the pairs alone.
        interval: Its 95 % interval by t, not corrected for several comparisons.
        d_z: Cohen's d of the pairs: mean difference over the standard deviation of the differences (n - 1).
        t: Student's statistic, with corrected variance where training sets overlap.
        p_value: Its two-sided p.
        pairs_interval: The interval over the pairs alone; equal to `interval` if `rows` is 0.
        pairs_p_value: p over the pairs alone.
        p_holm: The same after Holm's correction over `family` comparisons.
        family: Number of comparisons in the correction.
        wilcoxon_p: Two-sided p of Wilcoxon's signed-rank test; differences within rounding are ties.
        wilcoxon_least_p: Smallest p that is possible with this number of unequal pairs.
        is_lower_better: Whether lower values of the metric are better.
    """

    first: str
    second: str
    outcome: Outcome
    unit: Kind
    n: int
    is_lower_better: bool
    difference: float | None = None
    rows: int = 0
    interval: Interval | None = None
    d_z: float | None = None
    t: float | None = None
    p_value: float | None = None
    pairs_interval: Interval | None = None
    pairs_p_value: float | None = None
    p_holm: float | None = None
    family: int = 0
    wilcoxon_p: float | None = None
    wilcoxon_least_p: float | None = None

    @property
    def is_different(self) -> bool:
        """Whether a difference was found at the 5 % level after correction."""
        return self.p_holm is not None and self.p_holm <= ALPHA

    @property
    def is_first_better(self) -> bool:
        """Whether the first setting has the better mean."""
        return self.difference is not None and (self.difference < 0) == self.is_lower_better and self.difference != 0

    @property
    def wilcoxon_can_tell(self) -> bool:
        """Whether this number of pairs can reach the 5 % level in the signed-rank test."""
        return self.wilcoxon_least_p is not None and self.wilcoxon_least_p <= ALPHA

    def document(self) -> dict[str, Any]:
        """Returns the comparison as JSON; `words.comparison_sentence` returns it in English."""
        fields = {name: getattr(self, name) for name in self.__dataclass_fields__}
        return {
            **fields,
            "interval": self.interval and list(self.interval),
            "pairs_interval": self.pairs_interval and list(self.pairs_interval),
            "is_different": self.is_different,
        }


def compare_pair(
    first: str,
    second: str,
    values: Mapping[str, Mapping[PairKey, float]],
    units: Units,
    *,
    is_lower_better: bool,
    rows: RowTable | None = None,
) -> Comparison:
    """Returns the comparison of two settings on the keys they share, without Holm's correction.

    Args:
        first: The first setting.
        second: The setting with which it is compared.
        values: Value by setting and pair key.
        units: The units that count as one observation.
        is_lower_better: Whether lower values of the metric are better.
        rows: The values by test row, if they were kept: interval and test then cover seeds and rows.
    """
    found = differences(values[first], values[second], units)
    n = len(found.values)
    bare = Comparison(
        first=first, second=second, outcome="too few", unit=units.kind, n=n, is_lower_better=is_lower_better
    )
    if n == 0:
        return bare
    if found.are_zero and (rows is None or rows.are_equal(first, second)):
        return replace(bare, outcome="identical", difference=0.0)
    bare = replace(bare, difference=float(found.values.mean()))
    if n == 1:
        return bare
    wilcoxon_p, least_p = _wilcoxon(merge_magnitudes(found.values, found.tolerance))
    bare = replace(bare, wilcoxon_p=wilcoxon_p, wilcoxon_least_p=least_p)
    over_pairs = bare if found.are_constant else _over_pairs(bare, found.values, units)
    over_rows = None if rows is None else rows.difference(first, second)
    if over_rows is not None and over_rows.variance > 0:
        return _over_rows(over_pairs, over_rows)
    return replace(bare, outcome="constant") if found.are_constant else over_pairs


def _over_pairs(bare: Comparison, difference: Array, units: Units) -> Comparison:
    """Returns the comparison with a test over the pairs alone."""
    t, p_value = paired_t(difference, units.variance_ratio)
    interval = t_interval(difference, units.variance_ratio)
    return replace(
        bare,
        outcome="tested",
        interval=interval,
        d_z=float(difference.mean()) / standard_deviation(difference),
        t=t,
        p_value=p_value,
        p_holm=p_value,
        family=1,
        pairs_interval=interval,
        pairs_p_value=p_value,
    )


def _over_rows(over_pairs: Comparison, found: TwoWay) -> Comparison:
    """Returns the comparison with a test over seeds and test rows."""
    difference = over_pairs.difference or 0.0
    p_value = float(found.p_of(difference))
    return replace(
        over_pairs,
        outcome="tested",
        rows=found.rows,
        interval=found.interval(difference),
        t=difference / float(found.variance) ** 0.5,
        p_value=p_value,
        p_holm=p_value,
        family=1,
    )


@dataclass(frozen=True, kw_only=True)
class Differences:
    """First minus second for each observation that two settings share.

    Args:
        values: The differences `(n,)`.
        tolerance: Largest rounding error of each, `(n,)`.
    """

    values: Array
    tolerance: Array

    @property
    def are_zero(self) -> bool:
        """Whether all pairs are equal up to rounding."""
        return bool((np.abs(self.values) <= self.tolerance).all())

    @property
    def are_constant(self) -> bool:
        """Whether all pairs differ by the same amount up to rounding."""
        return are_equal(self.values, self.tolerance) or standard_deviation(self.values) == 0


def differences(first: Mapping[PairKey, float], second: Mapping[PairKey, float], units: Units) -> Differences:
    """Returns the differences of two settings on the observations that they share.

    Args:
        first: Value by pair key.
        second: The same for the other setting.
        units: The units that count as one observation.
    """
    shared = {key: first[key] - second[key] for key in first if key in second}
    rounding = {key: RESOLUTION * max(abs(first[key]), abs(second[key])) for key in shared}
    return Differences(values=units.gather(shared, shared), tolerance=units.gather(rounding, shared))


def paired_t(difference: Array, variance_ratio: float = 0.0) -> tuple[float, float]:
    """Returns Student's t of paired differences and its two-sided p: mean / (sd * sqrt(1/n + variance_ratio)).

    Args:
        difference: Differences that vary `(n,)`, n at least 2.
        variance_ratio: n_test / n_train if training sets overlap, for the corrected resampled t-test.

    Source: Nadeau and Bengio 2003; Bouckaert and Frank 2004 for repeated folds.

    >>> t, p = paired_t(np.array([1.0, 2.0, 3.0]))
    >>> round(t, 4), round(p, 4)
    (3.4641, 0.0742)
    """
    from scipy.special import stdtr

    n = len(difference)
    t = float(difference.mean() / (difference.std(ddof=1) * (1 / n + variance_ratio) ** 0.5))
    return t, float(2 * stdtr(n - 1, -abs(t)))


def _wilcoxon(difference: Array) -> tuple[float, float]:
    """Returns the two-sided p, and the smallest p that is possible with this number of nonzero differences."""
    from scipy.stats import wilcoxon

    nonzero = difference[difference != 0]
    p_value = _signed_rank_p(nonzero) if len(nonzero) <= MOST_SIGNS else float(wilcoxon(nonzero).pvalue)
    return p_value, min(1.0, 2.0 ** (1 - len(nonzero)))


def _signed_rank_p(nonzero: Array) -> float:
    """Returns the exact p over all signs of the ranks, like scipy, which takes 2 s for 13 differences with ties."""
    from scipy.stats import rankdata

    ranks = rankdata(np.abs(nonzero))
    signs = 1 - 2 * (np.arange(2 ** len(ranks))[:, None] >> np.arange(len(ranks)) & 1)
    # Midranks are multiples of 1/2, so these sums are exact.
    return float(np.mean(np.abs(signs @ ranks) >= abs(np.sign(nonzero) @ ranks)))


def holm(p_values: Sequence[float]) -> list[float]:
    """Returns p-values corrected for their number.

    Source: Holm 1979, through statsmodels.

    >>> [round(p, 3) for p in holm([0.01, 0.04, 0.03])]
    [0.03, 0.06, 0.06]
    """
    if len(p_values) < 2:
        return list(p_values)
    from statsmodels.stats.multitest import multipletests

    with _nothing_to_collect():
        return [float(p) for p in multipletests(p_values, alpha=ALPHA, method="holm")[1]]


@contextmanager
def _nothing_to_collect() -> Iterator[None]:
    """Hides existing objects from the garbage collector, which statsmodels calls each time: 0.2 s with torch loaded."""
    if gc.get_freeze_count():
        yield  # the process has frozen its objects itself, and unfreezing would undo that
        return
    gc.freeze()
    try:
        yield
    finally:
        gc.unfreeze()


def correct(comparisons: Sequence[Comparison], others: Sequence[float] = ()) -> tuple[Comparison, ...]:
    """Returns the comparisons with Holm's correction.

    Args:
        comparisons: The comparisons; only those that were tested are corrected.
        others: Further p-values that count in the correction, because the comparisons were selected from all of them.
    """
    tested = [comparison for comparison in comparisons if comparison.p_value is not None]
    adjusted = iter(holm([*(comparison.p_value for comparison in tested if comparison.p_value is not None), *others]))
    family = len(tested) + len(others)
    return tuple(
        replace(comparison, p_holm=next(adjusted), family=family) if comparison.p_value is not None else comparison
        for comparison in comparisons
    )
