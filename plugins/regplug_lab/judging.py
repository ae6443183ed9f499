"""Claims that several studies judge in the same way."""

from __future__ import annotations

import math
from collections.abc import Sequence

import numpy as np

from regplug.lab import Claim, exact

SECOND_DIGIT = 0.005
"""Half a unit of the last digit of the AUROCs in FACTS F."""

THIRD_DIGIT = 0.0005
"""Half a unit of the last digit of the accuracies in FACTS D."""


def near(
    name: str,
    text: str,
    values: Sequence[float],
    reference: float,
    half_digit: float = 0.0,
    *,
    source: str,
    undecided: str = "",
) -> Claim:
    """Judges whether the mean over seeds lies within four of its standard errors of a reference without a range.

    Args:
        name: As in `Claim`.
        text: As in `Claim`.
        values: One for each seed; two at least.
        reference: The reference's mean, or a theorem's value.
        half_digit: Half a unit of the last digit that the reference prints.
        source: As in `Claim`.
        undecided: As in `regplug.lab.exact`.
    """
    given = np.asarray(values, np.float64)
    error = float(given.std(ddof=1)) / math.sqrt(len(given)) if len(given) > 1 else math.inf
    few = "" if len(given) >= 10 else "ten seeds are needed"
    tolerance = 4 * error + half_digit
    return exact(name, text, float(given.mean()), reference, tolerance, source=source, undecided=undecided or few)
