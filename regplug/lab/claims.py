"""Claims of a study, judged by what was measured: HOLDS, DOES NOT HOLD, or UNDECIDED.

Each function below judges one kind of claim. The expectation comes from a reference or the literature and is named as
the claim's `source`; it is never adapted to a result.
"""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace
from typing import Any, Literal

import numpy as np

from regplug.statistics import number, t_interval

Verdict = Literal["HOLDS", "DOES NOT HOLD", "UNDECIDED"]

HOLDS: Verdict = "HOLDS"
DOES_NOT_HOLD: Verdict = "DOES NOT HOLD"
UNDECIDED: Verdict = "UNDECIDED"

ENOUGH_SEEDS = 10
"""With fewer seeds, a range or a rate does not hold yet; it is undecided, or clearly wrong."""

STANDARD_ERRORS = 4.0
"""The mean of the seeds lies within this many standard errors of the reference's."""

OUTSIDE_RATE = 0.01
"""The chance that a correct run lies outside the least and the greatest of the reference's seeds."""

LEAST_P = 6.3e-5
"""A rate this unlikely does not hold: four standard errors of a normal distribution, two-sided."""


@dataclass(frozen=True, kw_only=True)
class Claim:
    """One claim with its verdict.

    Args:
        name: Stable name for JSON, such as `a1_norm`.
        text: The claim, in one sentence.
        source: Where the expectation comes from, such as `FACTS A1`, a paper or a theorem.
        verdict: `HOLDS`, `DOES NOT HOLD` or `UNDECIDED`.
        why: The statistics behind the verdict, as text.
        figures: The same as numbers by name.
    """

    name: str
    text: str
    source: str
    verdict: Verdict
    why: str
    figures: Mapping[str, float | None] = field(default_factory=dict)

    def document(self) -> dict[str, Any]:
        """Returns the claim as JSON."""
        return {
            "name": self.name,
            "text": self.text,
            "source": self.source,
            "verdict": self.verdict,
            "why": self.why,
            "figures": {key: _finite(value) for key, value in self.figures.items()},
        }


def within(
    name: str,
    text: str,
    values: Sequence[float],
    low: float,
    high: float,
    *,
    source: str,
    mean: float | None = None,
    sd: float | None = None,
    half_digit: float = 0.0,
    undecided: str = "",
) -> Claim:
    """Judges whether values over seeds agree with the range of a reference over many seeds.

    Of ten seeds at most one may lie outside the range, of more as many as `allowed_outside` says. Where `mean` and `sd`
    are given, the mean must lie within four standard errors, `4 sd / sqrt(n)`. Fewer than ten seeds cannot confirm the
    claim, but two outside, or a wrong mean, refute it.

    Args:
        name: As in `Claim`.
        text: As in `Claim`.
        values: One for each seed; NaN lies outside.
        low: The reference's least value.
        high: Its greatest.
        source: As in `Claim`.
        mean: The reference's mean.
        sd: Its standard deviation over seeds.
        half_digit: Half a unit of the last digit to which `low` and `high` are rounded; 0 where they are exact.
        undecided: Why the values cannot decide, such as fewer epochs; empty if they can.
    """
    n, out = len(values), sum(not low - half_digit <= value <= high + half_digit for value in values)
    average = float(np.mean(values)) if n else math.nan
    limit = None if mean is None or sd is None or not n else STANDARD_ERRORS * sd / math.sqrt(n)
    is_off = limit is not None and mean is not None and not abs(average - mean) <= limit
    verdict = HOLDS if n >= ENOUGH_SEEDS else UNDECIDED
    if is_off or out > allowed_outside(n):
        verdict = DOES_NOT_HOLD
    why = f"{n - out} of {n} seeds in [{number(low)}, {number(high)}], mean {number(average)}"
    why += f"; the range is rounded to {number(2 * half_digit)}" if half_digit else ""
    why += f"; {allowed_outside(n)} may lie outside" if out else ""
    if mean is not None and limit is not None:
        why += f" (reference {number(mean)}, four standard errors {number(limit)})"
    if verdict == UNDECIDED:
        why += f"; {ENOUGH_SEEDS} seeds are needed"
    figures = {"mean": average, "outside": out, "n": n, "low": low, "high": high, "reference_mean": mean}
    return _judged(Claim(name=name, text=text, source=source, verdict=verdict, why=why, figures=figures), undecided)


def allowed_outside(seeds: int) -> int:
    """Returns how many of a number of seeds may lie outside a reference's range.

    The rule is that of ten seeds at most one may, while about 1 % of correct runs do. It refuses a correct study with
    probability P(X >= 2) = 0.0043 for X ~ Binomial(10, 0.01). For another number of seeds this is the exact one-sided
    binomial test at the same level.

    Args:
        seeds: Number of seeds.

    Source: Clopper and Pearson 1934, The Use of Confidence or Fiducial Limits Illustrated in the Case of the Binomial.

    >>> [allowed_outside(seeds) for seeds in (3, 10, 40, 100)]
    [1, 1, 3, 4]
    """
    from scipy.stats import binom

    level = binom.sf(1, ENOUGH_SEEDS, OUTSIDE_RATE)
    return next(out for out in range(seeds + 1) if binom.sf(out, seeds, OUTSIDE_RATE) <= level)


def greater(
    name: str, text: str, first: Sequence[float], second: Sequence[float], *, source: str, undecided: str = ""
) -> Claim:
    """Judges whether `first` is greater than `second`, by the 95 % interval of the mean paired difference.

    Holds if the interval lies above zero, does not hold if it lies below, and is undecided if it contains zero.

    Args:
        name: As in `Claim`.
        text: As in `Claim`.
        first: One value for each seed.
        second: The same seeds of the other setting.
        source: As in `Claim`.
        undecided: As for `within`.
    """
    mean, low, high, n = _paired(first, second)
    verdict = HOLDS if low > 0 else DOES_NOT_HOLD if high < 0 else UNDECIDED
    why = f"paired difference {number(mean)} [{number(low)}, {number(high)}] over {n} seeds"
    return _judged(_of_difference(name, text, source, verdict, why, (mean, low, high, n)), undecided)


def mostly_greater(
    name: str, text: str, first: Sequence[float], second: Sequence[float], *, source: str, undecided: str = ""
) -> Claim:
    """Judges whether `first` is greater than `second` in most runs, by the two-sided sign test at 5 %.

    Unlike `greater`, a few runs that break down do not decide it: of ten seeds, nine must agree. Ties and NaN count for
    neither side.

    Args:
        name: As in `Claim`.
        text: As in `Claim`.
        first: One value for each seed.
        second: The same seeds of the other setting.
        source: As in `Claim`.
        undecided: As for `within`.

    Source: Dixon and Mood 1946, The Statistical Sign Test.
    """
    from scipy.stats import binomtest

    pairs = list(zip(first, second, strict=True))
    more, less = sum(one > other for one, other in pairs), sum(one < other for one, other in pairs)
    p_value = float(binomtest(more, more + less).pvalue) if more + less else math.nan
    verdict = UNDECIDED if not p_value <= 0.05 else HOLDS if more > less else DOES_NOT_HOLD
    why = f"greater in {more} of {len(pairs)} seeds, less in {less}; two-sided sign test p = {number(p_value, 2)}"
    figures = {"greater": more, "less": less, "n": len(pairs), "p_value": p_value}
    return _judged(Claim(name=name, text=text, source=source, verdict=verdict, why=why, figures=figures), undecided)


def equal(
    name: str,
    text: str,
    first: Sequence[float],
    second: Sequence[float],
    margin: float,
    *,
    source: str,
    undecided: str = "",
) -> Claim:
    """Judges whether two settings differ by less than `margin`, by the 95 % interval of the mean paired difference.

    Holds if the interval lies within the margin on both sides of zero, does not hold if it lies outside it entirely.

    Args:
        name: As in `Claim`.
        text: As in `Claim`.
        first: One value for each seed.
        second: The same seeds of the other setting.
        margin: Greatest difference that does not matter.
        source: As in `Claim`.
        undecided: As for `within`.
    """
    mean, low, high, n = _paired(first, second)
    is_out = low > margin or high < -margin
    verdict = HOLDS if -margin <= low <= high <= margin else DOES_NOT_HOLD if is_out else UNDECIDED
    why = f"paired difference {number(mean)} [{number(low)}, {number(high)}] over {n} seeds, margin {number(margin)}"
    return _judged(_of_difference(name, text, source, verdict, why, (mean, low, high, n)), undecided)


def exact(
    name: str, text: str, found: Any, expected: Any, tolerance: float, *, source: str, undecided: str = ""
) -> Claim:
    """Judges whether numbers or arrays are equal within a tolerance, by the greatest absolute difference.

    Args:
        name: As in `Claim`.
        text: As in `Claim`.
        found: A number or an array.
        expected: What it must equal; a number or an array that broadcasts.
        tolerance: Greatest allowed difference.
        source: As in `Claim`.
        undecided: As for `within`.
    """
    difference = np.abs(np.asarray(found, np.float64) - np.asarray(expected, np.float64))
    worst = float(np.max(difference)) if difference.size else math.nan
    verdict = HOLDS if worst <= tolerance else DOES_NOT_HOLD
    why = f"greatest difference {number(worst)}, allowed {number(tolerance)}"
    figures = {"difference": worst, "tolerance": tolerance}
    return _judged(Claim(name=name, text=text, source=source, verdict=verdict, why=why, figures=figures), undecided)


def bounded(
    name: str,
    text: str,
    values: Sequence[float],
    *,
    source: str,
    low: float = -math.inf,
    high: float = math.inf,
    undecided: str = "",
) -> Claim:
    """Judges whether every value lies between two bounds; one that does not refutes the claim.

    Args:
        name: As in `Claim`.
        text: As in `Claim`.
        values: One for each seed, or any others; NaN lies outside.
        source: As in `Claim`.
        low: Lower bound, itself allowed.
        high: Upper bound, itself allowed.
        undecided: As for `within`.
    """
    out = [value for value in values if not low <= value <= high]
    told = [f">= {number(low)}"] * math.isfinite(low) + [f"<= {number(high)}"] * math.isfinite(high)
    least, most = (min(values), max(values)) if values else (math.nan, math.nan)
    why = f"{len(values) - len(out)} of {len(values)} {' and '.join(told)}; from {number(least)} to {number(most)}"
    verdict = DOES_NOT_HOLD if out else HOLDS if values else UNDECIDED
    figures = {"least": least, "most": most, "outside": len(out), "n": len(values)}
    return _judged(Claim(name=name, text=text, source=source, verdict=verdict, why=why, figures=figures), undecided)


def rate(name: str, text: str, hits: Sequence[bool], expected: float, *, source: str, undecided: str = "") -> Claim:
    """Judges whether something happens as often as a reference says, by the exact binomial test.

    Does not hold if the count is as unlikely as four standard errors; holds otherwise, from ten seeds on.

    Args:
        name: As in `Claim`.
        text: As in `Claim`.
        hits: Whether it happened, for each seed.
        expected: The reference's share, between 0 and 1.
        source: As in `Claim`.
        undecided: As for `within`.
    """
    from scipy.stats import binomtest

    n, count = len(hits), sum(map(bool, hits))
    p_value = float(binomtest(count, n, expected).pvalue) if n else math.nan
    verdict = DOES_NOT_HOLD if p_value < LEAST_P else HOLDS if n >= ENOUGH_SEEDS else UNDECIDED
    why = f"{count} of {n}, expected {number(expected)} of them; two-sided binomial p = {number(p_value, 2)}"
    figures = {"share": count / n if n else math.nan, "expected": expected, "n": n, "p_value": p_value}
    return _judged(Claim(name=name, text=text, source=source, verdict=verdict, why=why, figures=figures), undecided)


def overall(claims: Sequence[Claim]) -> Verdict:
    """Returns the verdict of a study: that of its weakest claim.

    >>> overall([])
    'UNDECIDED'
    """
    found = {claim.verdict for claim in claims}
    return next((verdict for verdict in (DOES_NOT_HOLD, UNDECIDED) if verdict in found), HOLDS if found else UNDECIDED)


def _paired(first: Sequence[float], second: Sequence[float]) -> tuple[float, float, float, int]:
    """Returns mean and 95 % interval of the paired differences, and their number; one pair has an endless interval."""
    difference = np.asarray(first, np.float64) - np.asarray(second, np.float64)
    mean = float(difference.mean()) if len(difference) else math.nan
    low, high = t_interval(difference) or (-math.inf, math.inf)
    return mean, low, high, len(difference)


def _of_difference(
    name: str, text: str, source: str, verdict: Verdict, why: str, found: tuple[float, float, float, int]
) -> Claim:
    figures = dict(zip(("difference", "low", "high", "n"), found, strict=True))
    return Claim(name=name, text=text, source=source, verdict=verdict, why=why, figures=figures)


def _judged(claim: Claim, undecided: str) -> Claim:
    """Returns the claim, undecided if there is a reason why it cannot be decided."""
    return replace(claim, verdict=UNDECIDED, why=f"{claim.why}; not decided: {undecided}") if undecided else claim


def _finite(value: float | None) -> float | None:
    return value if value is None or math.isfinite(value) else None
