"""Fits a temperature or a conformal threshold, and measures both on test rows. numpy and scipy.

Shape letters: B rows, K classes or values.
"""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import Any

import numpy as np

from regplug.bundles.calibration.answers import interval_misses, sets_of
from regplug.bundles.formats import Array
from regplug.errors import ExportError
from regplug.measuring.metrics import calibration_error

LEAST_TEMPERATURE, MOST_TEMPERATURE = 0.02, 50.0
CONFIDENCE = 0.95
ALARM = 1e-6
"""Probability of refusing a model whose test rows are exchangeable with its validation rows."""

SLACK = 1e-5
"""How much a threshold on probabilities is lowered, relatively, so that rounding loses no class."""

_ALL_RIGHT = "Give more validation rows, of which some are predicted wrong; or leave out --calibrate temperature."
_FAR_OFF = (
    "Check that the validation targets are in the order of the class names, and that the outputs are logits; or leave "
    "out --calibrate temperature."
)


def log_probabilities(logits_BK: Array) -> Array:
    """Returns the log-softmax of the logits, float64 `(B, K)`."""
    from scipy.special import log_softmax

    found: Array = log_softmax(np.asarray(logits_BK, np.float64), axis=1)
    return found


def of_targets(values_BK: Array, targets_B: Array) -> Array:
    """Returns the value of each row's class `(B,)`; classes may be floats, such as 1.0, or booleans."""
    return np.asarray(values_BK[np.arange(len(targets_B)), np.asarray(targets_B).astype(np.intp)])


def nll(logits_BK: Array, targets_B: Array, temperature: float = 1.0) -> float:
    """Returns the mean negative log-likelihood of softmax(logits / temperature).

    >>> round(nll(np.array([[0.0, 0.0]]), np.array([1])), 3)
    0.693
    """
    return float(_losses(logits_BK, targets_B, temperature).mean())


def _losses(logits_BK: Array, targets_B: Array, temperature: float) -> Array:
    shares_BK = log_probabilities(np.asarray(logits_BK, np.float64) / temperature)
    losses_B: Array = -of_targets(shares_BK, targets_B)
    return losses_B


def fit_temperature(logits_BK: Array, targets_B: Array) -> float:
    """Returns the temperature with the smallest NLL, a float32: min over T of mean -log softmax(logits / T)[target].

    Args:
        logits_BK: Logits on validation rows `(B, K)`.
        targets_B: Their classes `(B,)`.

    Raises:
        ExportError: The NLL has no minimum between 0.02 and 50.

    Source: Guo et al. 2017, On Calibration of Modern Neural Networks, section 4.2.
    """
    from scipy.optimize import minimize_scalar

    # The NLL is convex in 1 / T, so it has one minimum in log T too.
    ends = (math.log(LEAST_TEMPERATURE), math.log(MOST_TEMPERATURE))
    found = minimize_scalar(
        lambda log: nll(logits_BK, targets_B, math.exp(log)), bounds=ends, method="bounded", options={"xatol": 1e-7}
    )
    right = int((np.asarray(logits_BK).argmax(1) == targets_B).sum())
    # Where all are right, a smaller temperature is always better.
    if right == len(targets_B) or not ends[0] + 0.01 < found.x < ends[1] - 0.01:
        raise ExportError(
            f"No temperature between {LEAST_TEMPERATURE:g} and {MOST_TEMPERATURE:g} minimises the NLL of the "
            f"{len(targets_B)} validation rows, of which {right} are predicted right.",
            hint=_ALL_RIGHT if right == len(targets_B) else _FAR_OFF,
        )
    return float(np.float32(math.exp(found.x)))


def rank_of(rows: int, coverage: float) -> int:
    """Returns which of the sorted scores is the threshold: ceil((n + 1) * coverage).

    >>> rank_of(9, 0.9), rank_of(8, 0.9)
    (9, 9)
    """
    # Without the summand, 10 * 0.9 might round to more than 9.
    return math.ceil((rows + 1) * coverage - 1e-9)


def fit_sets(probability_BK: Array, targets_B: Array, coverage: float) -> float:
    """Returns the probability from which on a class is in the prediction set (LAC), a float32.

    The score of a row is 1 - p(target). The threshold is 1 minus the ceil((n + 1) * coverage)-th smallest score,
    lowered by `SLACK`.

    Args:
        probability_BK: Probabilities on validation rows `(B, K)`.
        targets_B: Their classes `(B,)`.
        coverage: Promised coverage.

    Source: Sadinle, Lei, Wasserman 2019, Least Ambiguous Set-Valued Classifiers with Bounded Error Levels; Vovk et al.
        2005, Algorithmic Learning in a Random World.
    """
    of_targets_B = np.sort(of_targets(probability_BK, targets_B))[::-1]
    return float(np.float32(of_targets_B[rank_of(len(targets_B), coverage) - 1] * (1 - SLACK)))


def fit_intervals(values_BK: Array, targets_BK: Array, coverage: float, rounding: float) -> list[float]:
    """Returns half the width of each value's interval: the ceil((n + 1) * coverage)-th smallest absolute residual.

    Args:
        values_BK: Values on validation rows `(B, K)`.
        targets_BK: The targets, likewise.
        coverage: Promised coverage.
        rounding: Largest rounding error of a value, which is added.

    Source: Lei et al. 2018, Distribution-Free Predictive Inference for Regression (split conformal).
    """
    residuals_BK = np.sort(np.abs(np.asarray(values_BK, np.float64) - targets_BK), axis=0)
    return [float(np.float32(half + rounding)) for half in residuals_BK[rank_of(len(residuals_BK), coverage) - 1]]


@dataclass(frozen=True, kw_only=True)
class Promise:
    """What split conformal prediction promises of test rows that are exchangeable with the validation rows.

    Of T test rows, the number of covered ones has the beta-binomial distribution with parameters T, k and n + 1 - k,
    where k = ceil((n + 1) * coverage); ties among the scores only cover more.

    Args:
        rows: Number of validation rows n.
        coverage: Promised coverage.

    Source: Vovk 2012, Conditional Validity of Inductive Conformal Predictors; Angelopoulos and Bates 2023, A Gentle
        Introduction to Conformal Prediction, section 3.2.
    """

    rows: int
    coverage: float

    def least(self, test_rows: int, alarm: float = ALARM) -> float:
        """Returns the share of covered test rows below which exchangeable rows fall with at most this probability."""
        from scipy.stats import betabinom

        rank = rank_of(self.rows, self.coverage)
        return float(betabinom.ppf(alarm, test_rows, rank, self.rows + 1 - rank)) / test_rows


def exact_interval(covered: int, rows: int) -> tuple[float, float]:
    """Returns the 95 % interval of a share (Clopper and Pearson 1934).

    >>> exact_interval(10, 10)[1]
    1.0
    """
    from scipy.stats import beta

    tail = (1 - CONFIDENCE) / 2
    low = float(beta.ppf(tail, covered, rows - covered + 1)) if covered else 0.0
    high = float(beta.ppf(1 - tail, covered + 1, rows - covered)) if covered < rows else 1.0
    return low, high


def measured_temperature(logits_BK: Array, targets_B: Array, temperature: float) -> dict[str, Any]:
    """Returns NLL and ECE on rows before and after the division by the temperature."""
    found: dict[str, Any] = {"rows": len(targets_B)}
    for when, divisor in (("before", 1.0), ("after", temperature)):
        found[f"nll_{when}"] = nll(logits_BK, targets_B, divisor)
        probability_BK = np.exp(log_probabilities(np.asarray(logits_BK, np.float64) / divisor))
        found[f"ece_{when}"] = calibration_error(probability_BK, targets_B)
    return found


def nll_change_in_errors(logits_BK: Array, targets_B: Array, temperature: float) -> float:
    """Returns the change of the NLL by the temperature, in standard errors of its mean over the rows."""
    gaps_B = _losses(logits_BK, targets_B, temperature) - _losses(logits_BK, targets_B, 1.0)
    error = float(gaps_B.std(ddof=1)) / math.sqrt(len(gaps_B)) if len(gaps_B) > 1 else 0.0
    return float(gaps_B.mean()) / error if error else 0.0


def measured_sets(probability_BK: Array, targets_B: Array, threshold: float) -> dict[str, Any]:
    """Returns the coverage of prediction sets with its exact interval, and their mean size."""
    sets_BK = sets_of(probability_BK, threshold)
    covered = int(of_targets(sets_BK, targets_B).sum())
    return {**_coverage(covered, len(targets_B)), "mean_size": float(sets_BK.sum(1).mean())}


def measured_intervals(values_BK: Array, targets_BK: Array, halves: list[float]) -> list[dict[str, Any]]:
    """Returns the coverage of each value's interval with its exact interval, and the mean width."""
    missed_BK = interval_misses(values_BK, targets_BK, halves)
    covered = (~missed_BK).sum(0)
    return [
        {**_coverage(int(count), len(missed_BK)), "mean_size": 2 * half}
        for count, half in zip(covered, halves, strict=True)
    ]


def _coverage(covered: int, rows: int) -> dict[str, Any]:
    low, high = exact_interval(covered, rows)
    return {"rows": rows, "coverage": covered / rows, "low": low, "high": high, "confidence": CONFIDENCE}
