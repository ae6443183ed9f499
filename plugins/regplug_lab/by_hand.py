"""Rows of FACTS whose figures many runs in plain torch do not confirm: these runs take their place.

FACTS asks of a study that lands outside a range to say which of the two is wrong. `benchmarks/lab_by_hand.py` trains
the networks of these rows without regplug. Where its runs leave FACTS' range more often than FACTS' rule allows, a
study is judged by them instead, and its claim says what FACTS has and how many runs leave that.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from regplug.lab import Claim, exact, within


@dataclass(frozen=True, kw_only=True)
class ByHand:
    """Values of runs in plain torch.

    Args:
        facts: Least and greatest value in FACTS, as rounded there; twice the same where FACTS has one value; infinity
            where it has no greatest.
        half_digit: Half a unit of the last digit of these.
        outside: Number of the runs that lie outside these.
        seeds: Number of the runs.
        mean: Their mean.
        sd: Their standard deviation.
    """

    facts: tuple[float, float]
    half_digit: float = 0.0
    outside: int
    seeds: int
    mean: float
    sd: float


XAVIER_TANH = ByHand(facts=(0.9, 1.5), outside=33, seeds=200, mean=1.1094, sd=0.2005)
LEARNT_RELU = ByHand(facts=(0.70, 0.75), outside=26, seeds=60, mean=0.7398, sd=0.0285)
D1_TEST = ByHand(facts=(0.816, 0.852), half_digit=0.0005, outside=12, seeds=60, mean=0.8304, sd=0.0168)
D1_TRAIN = ByHand(facts=(0.847, 0.851), half_digit=0.0005, outside=5, seeds=60, mean=0.8486, sd=0.0016)
D3_TEST = ByHand(facts=(0.840, 0.870), half_digit=0.0005, outside=4, seeds=30, mean=0.8548, sd=0.0104)
D4_TEST = ByHand(facts=(0.786, 0.868), half_digit=0.0005, outside=14, seeds=60, mean=0.8358, sd=0.0949)
D4_TRAIN = ByHand(facts=(0.883, 0.893), half_digit=0.0005, outside=9, seeds=60, mean=0.8799, sd=0.0451)
LENET_BATCH_NORM = ByHand(facts=(0.86, 0.905), half_digit=0.0005, outside=9, seeds=40, mean=0.8876, sd=0.0205)
MC_LIKELIHOOD = ByHand(facts=(0.0, math.inf), outside=8, seeds=30, mean=0.0023, sd=0.0045)
"""Negative log-likelihood without dropout minus that of the mean of the passes; FACTS has "always better"."""
MC_ENTROPY = ByHand(facts=(0.84, 0.88), half_digit=0.005, outside=5, seeds=30, mean=0.8598, sd=0.0172)
MC_PLAIN = ByHand(facts=(0.81, 0.84), half_digit=0.005, outside=8, seeds=30, mean=0.8223, sd=0.0197)
DEAD = {
    0.5: ByHand(facts=(0.05, 0.05), half_digit=0.005, outside=39, seeds=40, mean=0.0070, sd=0.0173),
    1.0: ByHand(facts=(0.32, 0.32), half_digit=0.005, outside=40, seeds=40, mean=0.4497, sd=0.1649),
    2.0: ByHand(facts=(0.62, 0.62), half_digit=0.005, outside=39, seeds=40, mean=0.7090, sd=0.0976),
}


Expected = tuple[float, float] | ByHand
"""The least and greatest value in FACTS, or what stands in their place."""


def in_facts(expected: Expected) -> tuple[float, float]:
    """Returns the least and greatest value in FACTS."""
    return expected.facts if isinstance(expected, ByHand) else expected


def as_expected(
    name: str,
    text: str,
    values: Sequence[float],
    expected: Expected,
    half_digit: float = 0.0,
    *,
    source: str,
    undecided: str = "",
) -> Claim:
    """Judges values over seeds by FACTS' range, or by what stands in its place.

    Args:
        name: As in `Claim`.
        text: What the values are: the beginning of a sentence.
        values: One for each seed.
        expected: The range, or runs in plain torch.
        half_digit: Half a unit of the range's last digit; 0 if the range is exact.
        source: Where the range is found.
        undecided: As in `regplug.lab.within`.
    """
    if isinstance(expected, ByHand):
        return as_by_hand(name, text, values, expected, undecided)
    low, high = expected
    return within(name, f"{text} is that of the reference.", values, low, high, half_digit=half_digit, source=source,
                  undecided=undecided)  # fmt: skip


def as_by_hand(name: str, text: str, values: Sequence[float], reference: ByHand, undecided: str = "") -> Claim:
    """Judges whether the means of the seeds and of runs in plain torch differ by at most four standard errors.

    Args:
        name: As in `Claim`.
        text: What the values are: the beginning of a sentence.
        values: One for each seed; two at least.
        reference: What plain torch gives.
        undecided: As in `regplug.lab.exact`.
    """
    low, high = reference.facts
    outside = sum(not low - reference.half_digit <= value <= high + reference.half_digit for value in values)
    told = f"{low:g}" if low == high else f"{low:g} to {high:g}" if math.isfinite(high) else f"{low:g} and more"
    few = "" if len(values) >= 10 else "ten seeds are needed"
    return exact(
        name,
        f"{text} has the mean of plain torch. FACTS has {told}; {outside} of {len(values)} runs here and "
        f"{reference.outside} of {reference.seeds} in plain torch lie outside that.",
        float(np.mean(values)),
        reference.mean,
        4 * reference.sd * math.sqrt(1 / len(values) + 1 / reference.seeds),
        source=f"plain torch, {reference.seeds} seeds",
        undecided=undecided or few,
    )
