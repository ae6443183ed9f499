"""Test metrics of a finished model, from its raw outputs.

Shape letters: B rows, K outputs.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any

import numpy as np
from numpy.typing import NDArray

from regplug.api import Task, TaskKind
from regplug.errors import DivergedError

Array = NDArray[Any]

CONFIDENCE_LEVEL = 0.95

NUM_BINS = 15
"""Bins of equal width of the calibration error, as in Guo et al. 2017."""


def evaluate_predictions(outputs_BK: Array, targets: Array, task: Task) -> dict[str, float]:
    """Returns the metrics of a model's outputs; a metric that is not defined on these targets is left out.

    Classification: `loss` (mean negative log-likelihood, natural logarithm), `accuracy`, `accuracy_low` and
    `accuracy_high` (95 % Wilson interval), `balanced_accuracy` (mean recall of the classes that occur), `macro_f1`,
    `auroc` (one class against the rest, mean over classes), `brier` and `ece` (see `brier_scores` and
    `calibration_bins`). Multilabel: `loss` (mean binary cross-entropy), `exact_match` (share of the rows whose labels
    are all right), `label_accuracy` (share of all labels that are right), `macro_f1` and `auroc` (means over the
    labels) and `brier` (mean squared error of the probabilities). Regression: `mae`, `rmse` and `r2`, the mean over
    columns, but no `loss`, because the run defines it.

    Args:
        outputs_BK: Logits or values `(B, K)`.
        targets: Classes int `(B,)`; or labels or values `(B, K)`.
        task: The task.

    Raises:
        DivergedError: An output is not finite.

    Source: Wilson 1927 for the interval, Guo et al. 2017 for `ece`; the others follow scikit-learn's conventions.
    """
    outputs_BK = np.asarray(outputs_BK, dtype=np.float64)
    if not np.isfinite(outputs_BK).all():
        row = int(np.argwhere(~np.isfinite(outputs_BK))[0][0])
        raise DivergedError(f"The model's output for row {row} is {outputs_BK[row]}.", hint="Try a smaller --lr.")
    metrics = _OF_TASK[task.kind](outputs_BK, np.asarray(targets))
    left_out = left_out_metrics(targets, task)
    return {name: float(value) for name, value in metrics.items() if name not in left_out}


def metric_names(task: Task) -> tuple[str, ...]:
    """Returns the names of all metrics of a task, including `loss` and those that some targets do not define."""
    if task.is_classification:
        of_rows = ("loss", "accuracy", "accuracy_low", "accuracy_high", "balanced_accuracy", "macro_f1")
        return (*of_rows, "auroc", "brier", "ece")
    if task.is_multilabel:
        return ("loss", "label_accuracy", "exact_match", "macro_f1", "auroc", "brier")
    return ("loss", "mae", "rmse", "r2")


def row_metrics(outputs_BK: Array, targets: Array, task: Task) -> dict[str, Array]:
    """Returns the metrics that are means over rows, on each row `(B,)`; the loss is not among them.

    Args:
        outputs_BK: Logits or values `(B, K)`.
        targets: Classes int `(B,)`, or values `(B, K)`.
        task: The task.
    """
    if task.is_multilabel:
        is_right_BK = (outputs_BK > 0) == (np.asarray(targets) > 0)
        brier_B = np.square(label_probabilities(outputs_BK) - targets).mean(axis=1)
        return {"exact_match": is_right_BK.all(axis=1), "label_accuracy": is_right_BK.mean(axis=1), "brier": brier_B}
    if not task.is_classification:
        return {"mae": np.abs(outputs_BK - np.asarray(targets, dtype=np.float64)).mean(axis=1)}
    return {"accuracy": outputs_BK.argmax(axis=1) == targets, "brier": brier_scores(probabilities(outputs_BK), targets)}


def probabilities(logits_BK: Array) -> Array:
    """Returns softmax probabilities, float64 `(B, K)`."""
    from scipy.special import softmax

    found: Array = softmax(np.asarray(logits_BK, dtype=np.float64), axis=1)
    return found


def label_probabilities(logits_BK: Array) -> Array:
    """Returns the sigmoid of the logits, float64 `(B, K)`: the probability of each label."""
    from scipy.special import expit

    found: Array = expit(np.asarray(logits_BK, dtype=np.float64))
    return found


def brier_scores(probability_BK: Array, targets_B: Array) -> Array:
    """Returns the Brier score of each row `(B,)`: sum_k (p_k - [y = k])^2, halved for two classes.

    It is 0 for a certain and right prediction; the largest is 2, and 1 for two classes, as in scikit-learn.

    Source: Brier 1950.
    """
    rows = np.arange(len(targets_B))
    right_B = probability_BK[rows, targets_B]
    scores: Array = np.square(probability_BK).sum(axis=1) - 2 * right_B + 1
    return scores / 2 if probability_BK.shape[1] == 2 else scores


def calibration_bins(probability_BK: Array, targets_B: Array) -> tuple[Array, Array, Array]:
    """Returns rows, mean confidence and accuracy of each of the `NUM_BINS` bins `(bins,)`; 0 for an empty bin.

    The confidence is the probability of the predicted class. Bins have equal width and include their upper end.

    Source: Guo et al. 2017, section 2.
    """
    confidence_B = probability_BK.max(axis=1)
    is_right_B = probability_BK.argmax(axis=1) == targets_B
    bin_B = np.clip(np.ceil(confidence_B * NUM_BINS).astype(np.int64) - 1, 0, NUM_BINS - 1)
    rows, confidence, right = (
        np.bincount(bin_B, weights=weights, minlength=NUM_BINS) for weights in (None, confidence_B, is_right_B)
    )
    filled = np.maximum(rows, 1)
    return rows, confidence / filled, right / filled


def calibration_error(probability_BK: Array, targets_B: Array) -> float:
    """Returns the expected calibration error: sum_bins rows / B * |accuracy - confidence|.

    >>> round(calibration_error(np.array([[0.9, 0.1], [0.8, 0.2]]), np.array([0, 1])), 3)
    0.45

    Source: Guo et al. 2017, eq. 3.
    """
    rows, confidence, accuracy = calibration_bins(probability_BK, targets_B)
    return float(rows @ np.abs(accuracy - confidence)) / len(targets_B)


def left_out_metrics(targets: Array, task: Task) -> dict[str, str]:
    """Returns the metrics that are not defined on these targets, with the reason.

    Args:
        targets: Classes int `(B,)`, or values `(B, K)`.
        task: The task.
    """
    if task.is_multilabel:
        constant = [name for name, y_B in zip(task.class_names, np.asarray(targets).T, strict=True) if np.ptp(y_B) == 0]
        return {"auroc": f"it needs rows with and without each label, unlike {', '.join(constant)}"} if constant else {}
    if not task.is_classification:
        return {"r2": "it needs two rows or more"} if len(targets) < 2 else {}
    absent = np.setdiff1d(np.arange(task.num_outputs), targets)
    if len(absent) == 0:
        return {}
    names = [task.class_names[label] if task.class_names else str(label) for label in absent]
    return {"auroc": f"it needs a row of each class, but there is none of {', '.join(names)}"}


def confusion_matrix(outputs_BK: Array, targets_B: Array) -> Array:
    """Returns the confusion matrix, int64 `(K, K)`: true class on the first axis, predicted class on the second.

    Args:
        outputs_BK: Logits `(B, K)`.
        targets_B: Classes int `(B,)`.
    """
    from sklearn import metrics

    matrix: Array = metrics.confusion_matrix(
        targets_B, outputs_BK.argmax(axis=1), labels=np.arange(outputs_BK.shape[1])
    )
    return matrix


def wilson_interval(num_right: int, num_rows: int) -> tuple[float, float]:
    """Returns the 95 % Wilson score interval of a share.

    With p = num_right / n and z = 1.96: (p + z^2/2n +- z sqrt(p (1 - p) / n + z^2/4n^2)) / (1 + z^2/n).

    >>> low, high = wilson_interval(95, 100)
    >>> round(low, 4), round(high, 4)
    (0.8882, 0.9785)

    Source: Wilson 1927.
    """
    from scipy.stats import binomtest

    interval = binomtest(num_right, num_rows).proportion_ci(CONFIDENCE_LEVEL, method="wilson")
    return float(interval.low), float(interval.high)


def _classification(logits_BK: Array, targets_B: Array) -> dict[str, float]:
    from scipy.special import log_softmax
    from sklearn import metrics

    predicted_B = logits_BK.argmax(axis=1)
    log_probability_BK = log_softmax(logits_BK, axis=1)
    probability_BK = np.exp(log_probability_BK)
    low, high = wilson_interval(int((predicted_B == targets_B).sum()), len(targets_B))
    return {
        # scikit-learn's log_loss takes probabilities and clips them at 2e-16; logits need no clipping.
        "loss": -log_probability_BK[np.arange(len(targets_B)), targets_B].mean(),
        "accuracy": metrics.accuracy_score(targets_B, predicted_B),
        "accuracy_low": low,
        "accuracy_high": high,
        # The same mean as balanced_accuracy_score, which warns if a predicted class does not occur.
        "balanced_accuracy": metrics.recall_score(
            targets_B, predicted_B, labels=np.unique(targets_B), average="macro", zero_division=0
        ),
        "macro_f1": metrics.f1_score(targets_B, predicted_B, average="macro", zero_division=0),
        **_auroc(probability_BK, targets_B),
        "brier": brier_scores(probability_BK, targets_B).mean(),
        "ece": calibration_error(probability_BK, targets_B),
    }


def _auroc(probability_BK: Array, targets_B: Array) -> dict[str, float]:
    from sklearn import metrics

    num_classes = probability_BK.shape[1]
    if len(np.unique(targets_B)) < num_classes:
        return {}
    scores = probability_BK[:, 1] if num_classes == 2 else probability_BK
    return {"auroc": metrics.roc_auc_score(targets_B, scores, average="macro", multi_class="ovr")}


def _multilabel(logits_BK: Array, targets_BK: Array) -> dict[str, float]:
    from sklearn import metrics

    wanted_BK, predicted_BK, probability_BK = targets_BK > 0, logits_BK > 0, label_probabilities(logits_BK)
    found = {
        # -log sigmoid(z) of a label that is 1, and -log sigmoid(-z) of one that is 0.
        "loss": np.logaddexp(0, np.where(wanted_BK, -logits_BK, logits_BK)).mean(),
        "label_accuracy": (predicted_BK == wanted_BK).mean(),
        "exact_match": (predicted_BK == wanted_BK).all(axis=1).mean(),
        "macro_f1": np.mean(
            [metrics.f1_score(t, p, zero_division=0) for t, p in zip(wanted_BK.T, predicted_BK.T, strict=True)]
        ),
        "brier": np.square(probability_BK - targets_BK).mean(),
    }
    if np.ptp(wanted_BK.astype(np.int8), axis=0).all():
        found["auroc"] = metrics.roc_auc_score(wanted_BK, probability_BK, average="macro")
    return found


def _regression(values_BK: Array, targets_BK: Array) -> dict[str, float]:
    """Like scikit-learn's functions, whose import alone takes a second."""
    targets_BK = np.asarray(targets_BK, dtype=np.float64)
    error_BK = values_BK - targets_BK
    square_K = np.square(error_BK).mean(axis=0)
    found = {"mae": np.abs(error_BK).mean(), "rmse": np.sqrt(square_K).mean()}
    if len(targets_BK) < 2:
        return found
    variance_K = targets_BK.var(axis=0)
    # A column that does not vary: 1 for a perfect prediction, else 0.
    shares = np.divide(square_K, variance_K, out=(square_K > 0).astype(np.float64), where=variance_K > 0)
    return {**found, "r2": 1 - shares.mean()}


_OF_TASK: Mapping[TaskKind, Callable[[Array, Array], dict[str, float]]] = {
    "classification": _classification,
    "multilabel": _multilabel,
    "regression": _regression,
}
